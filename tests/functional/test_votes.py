"""Several people decide, in browsers: two of two, claims, several approvals at once, an admin's policy."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console import Console, refund
from tests.scale import some
from tests.voting import LOWER, make_overdue, policy, read, vote

SignIn = Callable[..., Page]
Look = Callable[..., None]
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
LOOKS = some({"wide": {}, "dark phone": PHONE}, "dark phone")


def open_approval(page: Page, console: Console, approval: dict[str, object]) -> Page:
    page.goto(f"{console.url}/approvals/{approval['id']}/")
    return page


def test_two_people_decide_together_and_see_each_other(console: Console, sign_in: SignIn) -> None:
    with policy("refund", node="senior_desk", approvals=2, deadline_minutes=30):
        approval = console.pause("refund", refund(640))
    alice = open_approval(sign_in("alice"), console, approval)
    bob = open_approval(sign_in("bob"), console, approval)
    expect(bob.locator("#so-far")).to_have_text("0 of 2")
    expect(bob.locator("#tally .due")).to_contain_text("due in")
    expect(bob.locator("#who-votes")).to_have_text("Every reviewer may vote.")
    alice.click("#approve")
    expect(alice.locator(".toast")).to_have_text("Your vote is in. 1 more needed.")
    expect(alice.locator("#why-none")).to_contain_text("You voted.")
    expect(alice.locator("#approve")).to_be_disabled()
    # Bob's page follows, and is still good for a vote.
    expect(bob.locator("#so-far")).to_have_text("1 of 2")
    expect(bob.locator("#vote-list")).to_contain_text("alice approved")
    alice.click("#withdraw")
    expect(bob.locator("#so-far")).to_have_text("0 of 2")
    expect(bob.locator("#vote-list")).to_contain_text("no longer counts")
    alice.click("#approve")
    expect(bob.locator("#so-far")).to_have_text("1 of 2")
    bob.click("#approve")
    expect(bob.locator("#decision")).to_contain_text("alice, bob")
    expect(alice.locator("#standing")).to_contain_text("Approved by alice, bob")
    expect(bob.locator("#run[data-status=paused], #run[data-status=finished]")).to_be_visible(timeout=15_000)


@pytest.mark.full
def test_a_proposal_is_shown_before_anybody_can_agree(console: Console, sign_in: SignIn) -> None:
    with policy("refund", node="senior_desk", approvals=2):
        approval = console.pause("refund", refund(640))
    carol = open_approval(sign_in("carol"), console, approval)
    carol.click("#reject-open")
    carol.locator("#reject-reason").fill("Too much by far.")
    vote(console, "bob", approval, edits={"amount": {"op": "set", "value": 80.0}}).raise_for_status()
    expect(carol.locator("#decide #standing")).to_contain_text("bob proposes something else")
    expect(carol.locator("#reject")).to_be_disabled()
    expect(carol.locator("#reject-reason")).to_have_value("Too much by far.")
    carol.click("#show-proposed")
    expect(carol.locator("#reject-reason")).to_have_value("Too much by far.")
    carol.keyboard.press("Escape")
    expect(carol.locator("#proposal .diff [data-channel=amount] .before")).to_contain_text("640")
    expect(carol.locator("#proposal .diff [data-channel=amount] .after")).to_contain_text("80")
    expect(carol.locator("#approve")).to_have_text("Agree: Pay the refund")
    carol.click("#approve")
    expect(carol.locator("#decision")).to_contain_text("bob, carol")
    assert read(console, approval)["decision"]["edits"] == {"amount": {"op": "set", "value": 80.0}}


def test_a_claim_is_seen_by_others_and_can_be_taken_over(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("voting", {"text": "claim me"})
    alice = open_approval(sign_in("alice"), console, approval)
    bob = open_approval(sign_in("bob"), console, approval)
    alice.keyboard.press("c")
    expect(alice.locator("#claim-it")).to_be_focused()
    alice.keyboard.press("Enter")
    expect(alice.locator("#claim")).to_contain_text("You are reviewing, 15 min left")
    expect(bob.locator("#claim")).to_contain_text("alice is reviewing")
    expect(bob.locator("#approve")).to_be_disabled()
    expect(bob.locator("#why-none")).to_contain_text("alice is reviewing this")
    bob.click("#take-over-open")
    expect(bob.locator("#claim")).to_contain_text("is written down")
    bob.click("#take-over")
    expect(bob.locator("#approve")).to_be_enabled()
    expect(alice.locator("#approve")).to_be_disabled()
    bob.click("#release")
    expect(alice.locator("#approve")).to_be_enabled()


def test_what_happens_while_the_page_asks_is_not_missed(console: Console, sign_in: SignIn) -> None:
    with policy("voting", approvals=3):
        approval = console.pause("voting", {"text": "meanwhile"})
    carol = open_approval(sign_in("carol", is_own=True), console, approval)
    expect(carol.locator("#so-far")).to_have_text("0 of 3")
    late: list[str] = []

    def answer_late(route: Route) -> None:
        answer = route.fetch()
        if not late:
            late.append(answer.text())
            vote(console, "alice", approval).raise_for_status()
            time.sleep(1)  # the socket tells the page, which still waits for this answer
        route.fulfill(response=answer)

    carol.route("**/standing/?*", answer_late)
    vote(console, "bob", approval).raise_for_status()
    expect(carol.locator("#so-far")).to_have_text("2 of 3")
    carol.unroute_all(behavior="wait")  # an answer on its way would fail the next test
    assert late


def test_what_is_being_typed_stays_when_votes_come_in(console: Console, sign_in: SignIn) -> None:
    with policy("voting", approvals=3):
        approval = console.pause("voting", {"text": "typing"})
    carol = open_approval(sign_in("carol"), console, approval)
    carol.locator("#policy summary").click()
    carol.click("#reject-open")
    carol.locator("#reject-reason").fill("Because of")
    vote(console, "bob", approval).raise_for_status()
    expect(carol.locator("#so-far")).to_have_text("1 of 3")
    expect(carol.locator("#reject-reason")).to_be_visible()
    expect(carol.locator("#reject-reason")).to_have_value("Because of")
    expect(carol.locator("#policy[open]")).to_be_visible()
    with console.api("alice") as alice:  # now Reject is not carol's to press; her words stay all the same
        alice.post(f"/approvals/{approval['id']}/claim", json={}).raise_for_status()
    expect(carol.locator("#claim")).to_contain_text("alice is reviewing")
    expect(carol.locator("#reject-reason")).to_have_value("Because of")


@pytest.mark.full
def test_a_reason_is_asked_for_where_the_policy_wants_one(console: Console, sign_in: SignIn) -> None:
    with policy("voting", needs_reason=True, people=["bob"], deadline_minutes=5):
        approval = console.pause("voting", {"text": "reason"})
    alice = open_approval(sign_in("alice"), console, approval)
    expect(alice.locator("#why-none")).to_contain_text("lets bob decide here")
    make_overdue(approval)
    expect(alice.locator("#escalated")).to_contain_text("every reviewer may vote as well", timeout=20_000)
    alice.click("#approve-open")
    alice.click("#approve")
    expect(alice.locator("#approve-reason")).to_be_focused()
    alice.locator("#approve-reason").fill("Bob is away; checked by phone.")
    alice.click("#approve")
    expect(alice.locator("#decision")).to_contain_text("Bob is away")


def test_several_are_chosen_by_keyboard_and_decided_together(console: Console, sign_in: SignIn) -> None:
    mark = f"bulk-{console.port}"
    with policy("voting", deadline_minutes=60):  # due: on top of every list
        made = [console.pause("voting", {"text": mark}) for _ in range(2)]
    alice = sign_in("alice")
    alice.goto(f"{console.url}/?graph=voting")
    for each in made:
        alice.locator(f"#open-{each['id']}").focus()
        alice.keyboard.press("x")
    expect(alice.locator("#chosen")).to_have_text("2 chosen")
    vote(console, "bob", made[1]).raise_for_status()  # the list is drawn anew; what was chosen stays chosen
    expect(alice.locator(f"#row-{made[1]['id']}")).to_have_count(0)
    expect(alice.locator("#chosen")).to_have_text("1 chosen")
    with policy("voting", deadline_minutes=60):
        made[1] = console.pause("voting", {"text": mark})
    alice.locator(f"#row-{made[1]['id']} [data-pick]").check()
    alice.click("#look-together")
    expect(alice.locator(".bulk-item")).to_have_count(2)
    expect(alice.locator(".bulk-item").first).to_contain_text(mark)
    expect(alice.locator("#send-votes")).to_have_text("Send 2 votes: 2 approve")
    second = alice.locator(f"#bulk-{made[1]['id']}")
    second.locator(".verdict", has_text="Reject").click()
    expect(alice.locator("#send-votes")).to_have_text("Send 2 votes: 1 approve, 1 reject")
    second.locator(".verdict", has_text="Approve").click()
    alice.click("#send-votes")
    expect(alice.locator("#bulk-done h1")).to_have_text("2 of 2 votes are in")
    assert {read(console, each)["status"] for each in made} == {"approved"}


@pytest.mark.full
def test_tabs_count_what_they_list(console: Console, sign_in: SignIn) -> None:
    with policy("voting", approvals=2):
        approval = console.pause("voting", {"text": "tabs"})
    vote(console, "alice", approval).raise_for_status()
    alice = sign_in("alice")
    for tab in ("needs", "unclaimed", "mine", "open", "failed", "done"):
        alice.goto(f"{console.url}/?tab={tab}&graph=voting")
        count = int(alice.locator(f"#count-{tab}").inner_text())
        expect(alice.locator("#rows [data-row]")).to_have_count(min(count, 50))
        listed = alice.locator(f"#row-{approval['id']}").count()
        assert listed == (1 if tab in ("unclaimed", "open") else 0), tab
    alice.goto(f"{console.url}/?tab=needs")
    expect(alice.locator("#badge .badge")).to_have_text(alice.locator("#count-needs").inner_text())


@pytest.mark.full
def test_what_failed_has_its_own_tab_with_retry(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("failing", {"text": "mail"})
    vote(console, "alice", approval).raise_for_status()
    console.run_of(approval["id"], until=("failed",))
    alice = sign_in("alice")
    alice.goto(f"{console.url}/?tab=failed&q={approval['thread_id']}")
    row = alice.locator(f"#row-{approval['id']}")
    expect(row).to_contain_text("The mail server is down.")
    row.locator(f"#retry-{approval['id']}").click()
    expect(alice.locator("#run[data-status=finished]")).to_be_visible(timeout=15_000)


def test_a_running_run_is_cancelled_after_a_question(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("voting", {"text": "cancel", "seconds": 30})
    vote(console, "alice", approval).raise_for_status()
    alice = open_approval(sign_in("alice"), console, approval)
    alice.locator("#run .confirm summary").click()
    alice.locator("#run").evaluate("run => { delete run.dataset.etag; run.isOld = true; }")
    alice.evaluate("document.body.dispatchEvent(new CustomEvent('changed-thread'))")  # it comes anew, and stays open
    alice.wait_for_function("() => !document.getElementById('run').isOld")
    expect(alice.locator("#run .confirm")).to_contain_text("may still do what it does")
    alice.locator("#run .confirm button").click()
    expect(alice.locator("#run[data-status=cancelled]")).to_be_visible()
    expect(alice.locator("#run")).to_contain_text("Cancelled by alice")


def test_a_notice_is_put_away(console: Console, sign_in: SignIn) -> None:
    from django.contrib.auth.models import User

    from approvals.models import Notice

    approval = console.pause("voting", {"text": "notice"})
    carol_id = User.objects.get(username="carol").pk
    notice = Notice.objects.create(user_id=carol_id, approval_id=approval["id"], text="The agent moved on.")
    carol = sign_in("carol")
    carol.goto(f"{console.url}/")
    expect(carol.locator(f"#notice-{notice.pk}")).to_contain_text("The agent moved on.")
    carol.click(f"#away-{notice.pk}")
    expect(carol.locator("#list")).to_be_visible()
    expect(carol.locator(f"#notice-{notice.pk}")).to_have_count(0)


def test_an_admin_writes_a_policy_and_it_counts_for_the_next_question(console: Console, sign_in: SignIn) -> None:
    from approvals.models import Policy

    root = sign_in("root")
    root.goto(f"{console.url}/")
    root.click("#nav-admin")
    root.click("a[href='/admin/approvals/policy/add/']")
    root.get_by_label("Graph").select_option("voting")
    root.get_by_label("Node").fill("act")
    root.get_by_label("Approvals needed").fill("30")
    root.locator("input[name=_save]").click()
    expect(root.locator(".errorlist")).to_contain_text("30 approvals can never be reached")
    root.get_by_label("Approvals needed").fill("2")
    root.locator("#id_people_from").select_option(label="alice")
    root.locator("#id_people_add, #id_people_add_link").first.click()
    root.locator("#id_groups_from").select_option(label="reviewer")
    root.locator("#id_groups_add, #id_groups_add_link").first.click()
    root.locator("input[name=_save]").click()
    expect(root.locator("#result_list")).to_contain_text("voting / act")
    try:
        approval = console.pause("voting", {"text": "by the admin's policy"})
        assert (approval["required_votes"], approval["policy"]["source"]) == (2, "voting / act v1")
        open_approval(root, console, approval)
        root.locator("#policy summary").click()
        expect(root.locator("#policy")).to_contain_text("2 people must approve the same.")
        expect(root.locator("#policy")).to_contain_text("Policy: voting / act v1")
    finally:
        Policy.objects.filter(node="act").delete()


@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_the_new_pages_fit_and_break_no_rule(console: Console, look_at: Look, options: dict[str, object]) -> None:
    with policy("voting", approvals=2, people=["alice"], groups=["reviewer"], deadline_minutes=30):
        approval = console.pause("voting", {"text": "pages"})
        vote(console, "bob", approval, edits=LOWER, comment="By phone.").raise_for_status()
        pages = ["/?tab=open", "/?tab=failed", "/approvals/{id}/", "/approvals/bulk/?id={id}"]
        admin = ["/admin/", "/admin/approvals/policy/", "/admin/approvals/policy/add/", "/admin/auth/user/"]
        look_at("alice", [path.format(**approval) for path in pages], **options)
        look_at("root", admin, **options)
