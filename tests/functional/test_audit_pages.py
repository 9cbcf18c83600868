"""The audit log in a browser: what is known of it, one entry, a text that goes, a receipt on paper."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console, wait_for
from tests.scale import some

SignIn = Callable[..., Page]
Look = Callable[..., None]
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
LOOKS = some({"wide": {}, "dark phone": PHONE}, "dark phone")


@pytest.fixture(scope="module")
def decided(console: Console) -> dict[str, Any]:
    """A decided approval, with the numbers of its entries in the log."""
    approval = console.pause("gated", {"text": "audit pages"})
    with console.api("bob") as bob:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "comment": "Mrs Chen called me."}
        bob.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"])
    with console.api("erin") as erin:
        found = erin.get("/audit", params={"approval": approval["id"]}).json()["items"]
    return approval | {entry["action"]: entry["seq"] for entry in found}


def sign() -> None:
    """Sign now instead of waiting for the minute."""
    from approvals.actions.audit_log import signing

    signing.sign()


@pytest.mark.parametrize("options", LOOKS.values(), ids=LOOKS)
def test_each_page_fits_its_screen(look_at: Look, decided: dict[str, Any], options: dict[str, Any]) -> None:
    look_at("root", ["/audit/", f"/audit/{decided['vote.cast']}/", f"/approvals/{decided['id']}/receipt/"], **options)


def test_an_auditor_filters_and_reads_an_entry_without_a_script(
    console: Console, sign_in: SignIn, decided: dict[str, Any]
) -> None:
    erin = sign_in("erin", java_script_enabled=False)
    erin.goto(f"{console.url}/audit/")
    erin.get_by_label("Approval").fill(decided["id"])
    erin.get_by_label("What").select_option("vote.cast")
    erin.get_by_role("button", name="Filter").click()
    expect(erin.locator("li.entry")).to_have_count(1)
    erin.locator("li.entry summary").click()
    erin.get_by_role("link", name=f"Entry {decided['vote.cast']}").click()
    expect(erin.locator("#sentence")).to_have_text("bob voted: approve.")
    expect(erin.locator("#text-comment")).to_contain_text("Mrs Chen called me.")
    expect(erin.locator("#text-comment button")).to_have_count(0)  # only admins erase


def test_the_page_says_how_the_log_stands_and_when_it_was_signed(console: Console, sign_in: SignIn) -> None:
    sign()
    erin = sign_in("erin")
    erin.goto(f"{console.url}/audit/")
    erin.get_by_role("button", name="Verify now").click()
    expect(erin.locator("#chain-state")).to_have_text("Intact")
    expect(erin.locator("#chain")).to_contain_text("by erin")
    expect(erin.locator("#signed")).to_contain_text("up to entry")
    expect(erin.locator("#late")).to_have_count(0)
    expect(erin.locator("#broken")).to_have_count(0)


@contextmanager
def as_if(**values: Any) -> Iterator[None]:
    """Have the last check read otherwise for a while; the log itself is left alone."""
    from approvals.models import AuditCheck

    before = AuditCheck.objects.filter(pk=1).values(*values).get()
    AuditCheck.objects.filter(pk=1).update(**values)
    try:
        yield
    finally:
        AuditCheck.objects.filter(pk=1).update(**before)


def test_a_broken_log_is_a_red_banner_that_names_the_entry(console: Console, sign_in: SignIn) -> None:
    with console.api("erin") as api:
        api.get("/audit/verify").raise_for_status()
    erin = sign_in("erin")
    with as_if(ok=False, first_bad=3, reason="Its body or its hash was changed."):
        erin.goto(f"{console.url}/audit/")
        expect(erin.locator("#broken")).to_contain_text("broken at entry 3")
        expect(erin.locator("#broken")).to_contain_text("Its body or its hash was changed.")
        erin.locator("#broken a").click()
        expect(erin.locator("h1")).to_have_text("Entry 3")


def test_what_is_filtered_is_what_is_exported(console: Console, sign_in: SignIn, decided: dict[str, Any]) -> None:
    erin = sign_in("erin")
    erin.goto(f"{console.url}/audit/?approval={decided['id']}&action=vote.cast")
    with erin.expect_download() as begun:
        erin.locator("#export-jsonl").click()
    lines = [json.loads(line) for line in Path(begun.value.path()).read_text().splitlines()]
    assert [line["seq"] for line in lines if line["kind"] == "entry"] == [decided["vote.cast"]]
    assert begun.value.suggested_filename.endswith("-part.jsonl")
    with erin.expect_download() as begun:
        erin.locator("#export-csv").click()
    assert Path(begun.value.path()).read_text().count("\n") == 2


def test_a_reviewer_prints_the_receipt_and_downloads_it(
    console: Console, sign_in: SignIn, decided: dict[str, Any]
) -> None:
    def is_signed() -> bool:
        sign()
        bob.goto(f"{console.url}/approvals/{decided['id']}/receipt/")
        return bob.locator("#pending").count() == 0

    bob = sign_in("bob", is_own=True)
    wait_for(is_signed, what="the receipt to be signed")
    expect(bob.locator("main")).to_contain_text("Decided: approve, by bob.")
    bob.emulate_media(media="print")
    expect(bob.locator("#download")).to_be_hidden()
    bob.emulate_media(media="screen")
    with bob.expect_download() as begun:
        bob.locator("#download").click()
    told = json.loads(Path(begun.value.path()).read_text())
    assert (told["approval"], told["pending"], len(told["entries"])) == (decided["id"], False, 2)


def test_who_may_not_read_the_log_sees_neither_page_nor_entry(
    console: Console, sign_in: SignIn, decided: dict[str, Any]
) -> None:
    bob = sign_in("bob")
    for path in ("/audit/", f"/audit/{decided['vote.cast']}/", "/audit/export/?format=csv"):
        answer = bob.goto(console.url + path)
        assert answer is not None and answer.status == 403, path


def test_there_is_no_entry_of_a_number_that_was_never_given(console: Console, sign_in: SignIn) -> None:
    erin = sign_in("erin")
    for number in (0, 10**15, 10**30):
        answer = erin.goto(f"{console.url}/audit/{number}/")
        assert answer is not None and answer.status == 404, number


def test_an_admin_erases_a_comment_and_the_entry_stays(
    console: Console, sign_in: SignIn, decided: dict[str, Any]
) -> None:
    root = sign_in("root")
    root.goto(f"{console.url}/audit/{decided['vote.cast']}/")
    root.get_by_text("Erase this text…").click()
    root.get_by_label("Why is it erased?").fill("The customer asked for it.")
    root.get_by_role("button", name="Erase").click()
    expect(root.locator("#text-comment")).to_contain_text("Erased by root")
    expect(root.locator("main")).not_to_contain_text("Mrs Chen")
    root.goto(f"{console.url}/approvals/{decided['id']}/")
    expect(root.locator("main")).not_to_contain_text("Mrs Chen")
    with console.api("erin") as erin:
        verified = erin.get("/audit/verify").json()
        assert verified["ok"] is True, verified
        [told] = erin.get("/audit", params={"action": "text.erased", "limit": 1}).json()["items"]
    assert (told["actor"], told["object"]) == ("root", {"name": "comment", "seq": decided["vote.cast"]})
