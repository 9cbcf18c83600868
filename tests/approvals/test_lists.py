"""Lists: what a search finds, how far a count goes, and which list stands beside an approval."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from django.test import Client

WORDS = [
    "Refund 640 EUR to Mei-Ling Chen",
    "Größe: 80 €, ÉCOLE",
    "支付给王芳 80",
    "a_b c.d/e@f — “quoted”",
]


@pytest.fixture
def alice(database: str) -> "Client":
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="alice"))
    return client


@pytest.fixture
def asked(database: str) -> Iterator[list[Any]]:
    """Six that wait on a thread of their own, of a graph that nothing else has: oldest first."""
    from approvals.models import Approval, Thread

    mark = f"m{uuid.uuid4().hex[:11]}"  # a search for "3" finds words that begin with it
    thread = Thread.objects.create(id=f"order-{mark}", graph_id=f"g-{mark}", title=f"Thread Nr.{mark}")
    yield [
        Approval.objects.create(
            thread=thread, graph_id=thread.graph_id, checkpoint_id=str(number), kind="breakpoint", next=["act"],
            title=f"Pay {name} {mark}", summary=f"Part {number}", request={}, actions=[], state={}, digest="0" * 64,
            allowed_verdicts=["approve"],
        )
        for number, name in enumerate(["Ada", "Adam", "Bob", "Ada", "Cy", "Ada"])
    ]  # fmt: skip
    Approval.objects.filter(thread=thread).delete()  # nobody could decide these
    thread.delete()


def ids_on(page: str) -> list[str]:
    return re.findall(r'id="row-([0-9a-f-]{36})"', page)


def opened(client: "Client", address: str, **headers: str) -> str:
    answer = client.get(address, headers=headers or None)
    assert answer.status_code == 200, address
    return unescape(answer.content.decode())


def tsvector_of(text: str) -> set[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT tsvector_to_array(countersign_words(%s))", [text])
        return set(cursor.fetchone()[0])


@pytest.mark.parametrize("text", WORDS)
def test_the_database_and_a_search_part_words_alike(database: str, text: str) -> None:
    from approvals.domain.search import words_of

    assert tsvector_of(text) == set(words_of(text))


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_characters="\x00", exclude_categories=("Cs",)), max_size=30))
def test_they_part_any_text_alike(database: str, text: str) -> None:
    from approvals.domain.search import words_of

    plain = text.casefold()  # where one letter has two lower-case forms, Python and PostgreSQL may take another one
    if plain.lower() == plain == plain.upper().lower():
        assert tsvector_of(plain) == set(words_of(plain))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ada", [0, 1, 3, 5]),
        ("ADA", [0, 1, 3, 5]),
        ("adam", [1]),
        ("pay bob", [2]),
        ("bob pay", [2]),
        ("part 3", [3]),
        ("order", [0, 1, 2, 3, 4, 5]),
        ("dam", []),
        ("ada bob", []),
        ("'ada' & !bob | x:*", []),
        ("%", []),
    ],
)
def test_a_search_finds_words_and_beginnings_of_words(
    alice: "Client", asked: list[Any], typed: str, found: list[int]
) -> None:
    mark = asked[0].graph_id.removeprefix("g-")
    query = typed if typed == "%" else f"{typed} {mark}"
    page = alice.get("/", {"tab": "open", "q": query}).content.decode()
    assert ids_on(page) == [str(asked[each].pk) for each in found]
    assert f'id="count-open">{len(found)}<' in page


@pytest.mark.parametrize("part", ["{id}", "{mark}", "order-{short}", "nr.{mark}", "THREAD {short}"])
def test_threads_are_found_by_parts_of_id_and_title(alice: "Client", asked: list[Any], part: str) -> None:
    thread_id = asked[0].thread_id
    mark = thread_id.removeprefix("order-")
    page = opened(alice, f"/threads/?q={part.format(id=thread_id, mark=mark, short=mark[:8])}")
    assert f'data-key="{thread_id}"' in page


def test_a_changed_title_is_found_by_its_new_words(alice: "Client", asked: list[Any]) -> None:
    first, mark = asked[0], asked[0].graph_id.removeprefix("g-")
    first.title = f"Something else {mark}"
    first.save()
    assert ids_on(opened(alice, f"/?tab=open&q=else+{mark}")) == [str(first.pk)]
    assert str(first.pk) not in opened(alice, f"/?tab=open&q=ada+{mark}")


@pytest.mark.parametrize("near", [1, 3, 500])
def test_a_word_is_found_wherever_in_the_list_it_is(
    asked: list[Any], near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the first rows of the list, and where those do not fill a page, by the index."""
    from approvals.domain import search
    from approvals.models import Approval

    monkeypatch.setattr(search, "NEAR", near)
    listed = Approval.objects.filter(graph_id=asked[0].graph_id).most_urgent_first()
    found = [search.first_matching(listed, "ada", most) for most in (1, 2, 9)]
    assert found == [asked[:1], asked[:2], [asked[0], asked[1], asked[3], asked[5]]]


def test_a_count_goes_so_far_and_to_the_end_when_asked(
    alice: "Client", asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from approvals import counts

    monkeypatch.setattr(counts, "MOST_COUNTED", 4)
    page = opened(alice, f"/?tab=open&graph={asked[0].graph_id}")
    assert 'id="count-open">4+<' in page and 'id="count-done">0<' in page
    found = re.search(r'id="exact" href="([^"]+)"', page)
    assert found
    exact = opened(alice, found[1])
    assert 'id="count-open">6<' in exact and 'id="exact"' not in exact


def test_the_list_beside_an_approval_is_the_one_it_was_opened_from(alice: "Client", asked: list[Any]) -> None:
    mark = asked[0].graph_id.removeprefix("g-")
    page = opened(alice, f"/?tab=open&graph={asked[0].graph_id}&q=ada+{mark}")
    addresses = re.findall(r'class="row-link" id="open-[^"]+" href="([^"]+)"', page)
    assert len(addresses) == 4
    beside = opened(alice, addresses[1])
    assert ids_on(beside) == [str(asked[each].pk) for each in (0, 1, 3, 5)]
    assert addresses == re.findall(r'class="row-link" id="open-[^"]+" href="([^"]+)"', beside)
    assert f'href="/?tab=open&graph={asked[0].graph_id}&q=ada+{mark}">← Queue' in beside
    elsewhere = opened(alice, f"/approvals/{asked[1].pk}/")
    assert 'class="back" href="/">' in elsewhere, "an address without a list is as ever"


def test_a_fragment_of_the_page_knows_the_list_by_the_address_it_is_on(alice: "Client", asked: list[Any]) -> None:
    here = f"http://127.0.0.1/approvals/{asked[2].pk}/?tab=open&graph={asked[0].graph_id}"
    headers = {"HX-Request": "true", "HX-Current-URL": here}
    side = opened(alice, f"/beside/?current={asked[2].pk}", **headers)
    assert ids_on(side) == [str(each.pk) for each in asked]
    assert '<span class="count">6</span>' in side
    other = {**headers, "HX-Current-URL": here.replace("127.0.0.1", "example.org")}
    assert "?tab=" in side and "?tab=" not in opened(alice, "/beside/", **other), "another site names no list"


def test_what_follows_in_the_list_comes_next(asked: list[Any]) -> None:
    from django.contrib.auth.models import User

    from approvals.views.lists import ListAsked

    filters = {"graph": asked[0].graph_id, "kind": "", "q": "ada"}
    listed = ListAsked(User.objects.get(username="alice"), "open", filters)
    assert [listed.next_to(asked[each]) for each in (0, 2, 3, 5)] == [asked[1], asked[3], asked[5], asked[0]]
    whole = replace(listed, filters=filters | {"q": ""})
    page, _ = whole.page()
    assert [whole.next_to(each, page) for each in page] == [whole.next_to(each) for each in page] == page[1:] + page[:1]
    second = replace(whole, cursor=whole._key_after(page[2]))
    assert second.next_to(page[0], second.page()[0]) == page[1], "what follows is not on the page that was read"


@pytest.fixture
def many(asked: list[Any]) -> Iterator[list[Any]]:
    """2,500 questions that ben's group may vote on, and among them, far apart, three on which ana alone may."""
    from django.contrib.auth.models import Group, User
    from django.db import connection

    from approvals.domain.policies import Rule, Voters
    from approvals.models import Approval

    group = Group.objects.create(name=f"payers-{uuid.uuid4().hex[:8]}")
    ana, ben = (User.objects.create(username=f"{name}-{uuid.uuid4().hex[:8]}") for name in ("ana", "ben"))
    ana.groups.set([Group.objects.get(name="reviewer")])
    ben.groups.set([Group.objects.get(name="reviewer"), group])
    theirs = Rule(voters=(Voters(groups=(group.name,)),)).as_dict()
    hers = Rule(voters=(Voters(people=(ana.username,)),)).as_dict()
    first = asked[0]
    made = [
        Approval(
            thread=first.thread, graph_id=first.graph_id, checkpoint_id=f"many-{number}", kind="breakpoint",
            next=["act"], title=f"Many {number}", request={}, actions=[], state={}, digest="0" * 64,
            allowed_verdicts=["approve"], rule=hers if number in (700, 1400, 2100) else theirs,
        )
        for number in range(2_500)
    ]  # fmt: skip
    Approval.objects.bulk_create(made, batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approvals_approval")
    yield [ana, ben, [each for each in made if each.rule == hers]]
    Approval.objects.filter(title__startswith="Many ", thread=first.thread).delete()
    ana.delete()
    ben.delete()
    group.delete()


def looked_at(listed: Any) -> int:
    """Return of how many open questions PostgreSQL judged whether a person may vote, as it does in a large table."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a small table is quicker read whole
        cursor.execute("SET LOCAL enable_hashjoin = off")
        plan = json.loads(listed.explain(analyze=True, format="json"))[0]["Plan"]

    def rows_in(node: dict[str, Any]) -> int:
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        judges = "asked_at >= " in node.get("Filter", "")
        return (own if judges else 0) + sum(rows_in(each) for each in node.get("Plans", ()))

    return rows_in(plan)


def test_whoever_is_named_seldom_waits_for_no_look_at_all_that_is_open(many: list[Any]) -> None:
    from approvals.domain import queries
    from approvals.models import Approval
    from approvals.views.lists import own_list

    ana, _, hers = many
    listed = own_list(ana)
    assert listed.page() == (hers, "")
    assert listed.first(but=hers[0]) == hers[1] and listed.next_to(hers[2]) == hers[0]
    assert looked_at(listed.rows(50)) < 100
    assert looked_at(queries.for_menu(ana)) < 100
    assert looked_at(queries.needing(Approval.objects.all(), ana)) > 2_000


def test_whoever_is_named_often_goes_through_the_list_in_order(many: list[Any]) -> None:
    from approvals.views.lists import ListAsked

    _, ben, hers = many
    listed = ListAsked(ben, "needs", {"graph": hers[0].graph_id, "kind": "", "q": ""})
    page, cursor = listed.page()
    after, _ = replace(listed, cursor=cursor).page()
    asked = [each.created_at for each in [*page, *after]]
    assert len(page) == len(after) == 50 and asked == sorted(asked)
    assert [each.title for each in after[:2]] == ["Many 50", "Many 51"], (
        "he was no reviewer when the six before were asked"
    )
    assert looked_at(listed.rows(50)) < 700, "FEW, and those of the page"


def test_a_list_is_planned_for_its_values(alice: "Client", asked: list[Any]) -> None:
    """A statement that is prepared soon has one plan for all values: quick for some, a look at all for others."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")  # what earlier tests prepared
    for address in ("/?tab=open", "/", "/open-count/", f"/approvals/{asked[0].pk}/", "/threads/"):
        for _ in range(7):  # psycopg prepares what it is given five times
            opened(alice, address, **({"HX-Request": "true"} if "count" in address else {}))
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for [statement] in cursor.fetchall()]
    assert any("auth_user" in each for each in prepared), "who signed in is read by a prepared statement"
    lists = [each for each in prepared if "count(*)" in each or "LIMIT 51" in each]
    assert [each for each in lists if not each.startswith("WITH w0")] == [], (
        "but for last writes, which count themselves"
    )


def test_a_list_follows_the_roles_of_whoever_asks_again(many: list[Any]) -> None:
    """Its SQL is kept for the same person with the same roles, and for nobody else."""
    from django.contrib.auth.models import Group, User
    from django.test import Client

    ana, _, hers = many
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(pk=ana.pk))
    for _ in range(2):
        assert ids_on(opened(client, "/?tab=needs")) == [str(each.pk) for each in hers]
    ana.groups.set([Group.objects.get(name="auditor")])
    for _ in range(2):
        assert ids_on(opened(client, "/?tab=needs")) == []
        assert 'id="count-needs">0<' in opened(client, "/?tab=needs")
