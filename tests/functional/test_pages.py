"""Each page, for those who may see it: no script errors, nothing wider than a phone, alive without a socket."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, refund
from tests.scale import some

SignIn = Callable[..., Page]
Look = Callable[..., None]
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
LOOKS = some({"wide": {}, "dark phone": PHONE}, "dark phone")


@pytest.fixture(scope="module")
def approval(console: Console) -> dict[str, object]:
    return console.pause("refund", refund(640))


PATHS = [
    "/",
    "/?status=done",
    "/approvals/{id}/",
    "/threads/",
    "/threads/{thread_id}/",
    "/start/",
    "/start/refund/",
    "/audit/",
    "/threads/{thread_id}/force-clean/",
    "/api/docs",
]


@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_every_page_opens(look_at: Look, approval: dict[str, object], options: dict[str, object]) -> None:
    look_at("root", [path.format(**approval) for path in PATHS], **options)


@pytest.mark.full
def test_the_page_follows_without_a_socket(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    bob = sign_in("bob", is_live=False, is_own=True)
    bob.clock.install()
    bob.goto(f"{console.url}/?q={approval['thread_id']}")
    expect(bob.locator(f"#row-{approval['id']}")).to_be_visible()
    with console.api("alice") as alice:
        alice.post(
            f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
        ).raise_for_status()
    bob.clock.fast_forward(16_000)  # the list asks every 15 s
    expect(bob.locator(f"#row-{approval['id']}")).to_have_count(0)


def test_the_queue_is_worked_from_the_keyboard(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    alice = sign_in("alice")
    alice.goto(f"{console.url}/?q={approval['thread_id']}")
    alice.keyboard.press("j")
    alice.keyboard.press("Enter")
    expect(alice.locator("#item-title")).to_be_visible()
    alice.keyboard.press("e")
    expect(alice.get_by_label("Amount")).to_be_visible()


def test_an_operator_starts_a_run_from_the_graphs_own_form(console: Console, sign_in: SignIn) -> None:
    olga = sign_in("olga")
    olga.goto(f"{console.url}/start/refund/")
    olga.get_by_label("Order").fill("NL-99887")
    olga.get_by_label("Customer").fill("Ana Ruiz")
    olga.get_by_label("Reason").fill("The chair has three legs.")
    olga.get_by_label("Amount").fill("20")
    olga.get_by_label("Currency").select_option("EUR")
    olga.locator("main form button.primary, main form button[type=submit]").first.click()
    expect(olga.locator("body")).to_contain_text("Pay the refund", timeout=15_000)


def test_an_admin_force_cleans_after_typing_the_threads_name(console: Console, sign_in: SignIn) -> None:
    approval = console.pause("refund", refund(640))
    root = sign_in("root")
    root.goto(f"{console.url}/threads/{approval['thread_id']}/force-clean/")
    expect(root.locator("main")).to_contain_text("checkpoints")
    root.get_by_label("Why").fill("stuck since Monday")
    root.locator("main input[type=text]").last.fill(str(approval["thread_id"]))
    root.locator("main form button").last.click()
    with console.api("root") as api:
        assert api.get(f"/approvals/{approval['id']}").json()["status"] == "cleaned"


@pytest.mark.full
def test_an_auditor_verifies_the_log(console: Console, sign_in: SignIn) -> None:
    erin = sign_in("erin")
    erin.goto(f"{console.url}/audit/")
    erin.get_by_role("button", name="Verify now").click()
    expect(erin.locator("main")).to_contain_text("Intact")
