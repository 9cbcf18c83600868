"""The queue: one line a row, many rows above the fold, and several chosen by keyboard and mouse."""

import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.console import Console

SignIn = Callable[..., Page]
MANY = 20
ABOVE_THE_FOLD = """[...document.querySelectorAll("tr.row")].map(row => row.getBoundingClientRect())
    .filter(box => box.bottom <= innerHeight).map(box => box.height)"""


@pytest.fixture
def mark(console: Console) -> Iterator[str]:
    """Twenty questions about money of one thread, and the words by which they are found."""
    from approvals.models import Approval, Thread

    mark = f"m{uuid.uuid4().hex[:11]}"
    thread = Thread.objects.create(id=f"order-{mark}", graph_id=f"g-{mark}")
    for number in range(MANY):
        Approval.objects.create(
            thread=thread, graph_id=thread.graph_id, checkpoint_id=str(number), kind="breakpoint", next=["act"],
            title=f"Pay {mark}", headline=f"Refund {number}.50 EUR to somebody with a long name {mark} " + "x" * 150,
            detail="order NL-48213", action="Refund",
            amount=Decimal(f"{number}.5"), currency=("EUR", "GBP")[number % 2],
            request={}, actions=[], state={}, digest="0" * 64, allowed_verdicts=["approve"],
        )  # fmt: skip
    yield mark
    Approval.objects.filter(thread=thread).delete()  # nobody could decide these
    thread.delete()


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_fourteen_rows_are_above_the_fold(
    console: Console, sign_in: SignIn, mark: str, options: dict[str, str]
) -> None:
    page = sign_in("alice", viewport={"width": 1440, "height": 900}, **options)
    page.goto(f"{console.url}/?tab=open&q={mark}")
    heights = page.evaluate(ABOVE_THE_FOLD)
    assert len(heights) >= 14
    assert all(44 <= height <= 52 for height in heights), heights


def test_several_are_chosen_with_shift_x_and_all_at_once(console: Console, sign_in: SignIn, mark: str) -> None:
    page = sign_in("alice")
    page.goto(f"{console.url}/?tab=open&q={mark}")
    boxes, chosen = page.locator("[data-pick]"), page.locator("#chosen")
    boxes.nth(1).check()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(chosen).to_have_text("4 chosen")
    expect(page.locator("#chosen-sums")).to_have_text("5.00 GBP · 7.00 EUR · 4 × Refund")
    page.locator("#choose-none").click()
    expect(chosen).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(chosen).to_have_text("3 chosen")
    page.get_by_label("Choose all on this page").check()
    expect(chosen).to_have_text(f"{MANY} chosen")
    page.click("#look-together")
    expect(page.locator("h1")).to_have_text(f"{MANY} approvals together")


def test_a_list_is_sorted_grouped_and_kept_under_a_name(console: Console, sign_in: SignIn, mark: str) -> None:
    page = sign_in("alice")
    page.goto(f"{console.url}/?tab=open&q={mark}")
    page.click("#sort-open")
    page.get_by_role("link", name="Largest amount first").click()
    expect(page.locator("#sort-open")).to_have_text("Sort: largest amount first")
    expect(page.locator("[data-pick]").first).to_have_attribute("data-amount", "19.5000")
    page.click("#views-open")
    page.fill("#view-name", mark)
    page.click("#keep-view")
    expect(page.locator("#views-open")).to_have_text(f"Views: {mark}")
    page.click("#group-open")
    page.get_by_role("link", name="Action").click()
    expect(page.locator(".group")).to_have_text(f"Refund {MANY}")
    page.click("#views-open")
    page.get_by_role("link", name=mark, exact=True).click()
    expect(page.locator("#sort-open")).to_have_text("Sort: largest amount first")
    page.click("#views-open")
    page.get_by_role("button", name=f"Remove {mark}").click()
    expect(page.locator("#views-open")).to_have_text("Views")


def test_the_search_takes_fields_as_they_are_typed(console: Console, sign_in: SignIn, mark: str) -> None:
    page = sign_in("alice")
    page.goto(f"{console.url}/?tab=open")
    page.fill("#search", f"{mark} amount>15 currency:EUR")
    expect(page.locator("[data-row]")).to_have_count(2)
    expect(page.locator("#count-open")).to_have_text("2")
    page.fill("#search", f"{mark} amount>much")
    expect(page.locator("#search-problem")).to_contain_text("an amount is a number")
