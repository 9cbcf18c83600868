"""The cases: what each graph is given, and what people say to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHAT = [{"role": "user", "content": "Hi."}]

MAIL = {"email": {"subject": "A bill", "body": "Pay."}, "messages": []}
BIG = {"order": 2**53 + 1, "price": 5.0}
"""A number that JavaScript would round."""


@dataclass(frozen=True)
class Case:
    """`inputs` are the turns of one thread. `says` answers a payload; breakpoints are approved.

    `fields` are what is typed on the start page; without them the first input is written as JSON there.
    """

    graph: str
    inputs: Sequence[Any]
    says: Callable[[Any], Any] = lambda payload: "yes"
    fields: Mapping[str, str] | None = None
    name: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """`context` and `config` of the runs."""

    def __str__(self) -> str:
        return f"{self.graph} {self.name}".strip()


def _of_trip(payload: Any) -> Any:
    [words] = payload
    return {"Which town?": "Graz", "And the nights?": 2, "And the wish?": "A bath."}[words]


def _edit_one(payload: Any) -> Any:
    """Change the note of a call, and leave all else as it is."""
    if isinstance(payload, list):  # the older kind
        args = payload[0]["action_request"]["args"]
        return [{"type": "edit", "args": {"action": "act", "args": {**args, "note": "edited"}}}]
    requests = payload.get("action_requests") or [payload]
    edited = [{"name": each["name"], "args": {**each["args"], "note": "edited"}} for each in requests]
    decisions = [{"type": "edit", "edited_action": each} for each in edited]
    return {"decisions": decisions} if "action_requests" in payload else decisions[0]


def _edit_price(payload: Any) -> Any:
    args = payload[0]["action_request"]["args"]
    return [{"type": "edit", "args": {"action": "pay", "args": {**args, "price": 4.5}}}]


def _approve_all(payload: Any) -> Any:
    return {"decisions": [{"type": "approve"} for _ in payload["action_requests"]]}


def _of_mail(payload: Any) -> Any:
    """Say something about the mail, answer the question, edit what is sent, and take the meeting as it is."""
    request = payload[0]["action_request"]
    match request["action"]:
        case "write_email":
            edited = {**request["args"], "content": "Gladly."}
            return [{"type": "edit", "args": {"action": "write_email", "args": edited}}]
        case "schedule_meeting":
            return [{"type": "accept", "args": None}]
        case "ask_question":
            return [{"type": "response", "args": "On Friday."}]
    return [{"type": "response", "args": "Say yes."}]


def _of_deep(payload: Any) -> Any:
    """Edit files and mails, approve the rest, and have the second of two mails rejected."""
    decisions: list[Any] = []
    for request in payload["action_requests"]:
        name, args = request["name"], request["args"]
        if args.get("subject") == "Two":
            decisions.append({"type": "reject", "message": "One is enough."})
        elif name in ("write_file", "send_mail") and "/secrets/" not in str(args.get("file_path")):
            change = {"content": "# Short\n"} if name == "write_file" else {"body": "See the file."}
            decisions.append({"type": "edit", "edited_action": {"name": name, "args": {**args, **change}}})
        else:
            decisions.append({"type": "approve"})
    return {"decisions": decisions}


TYPED_CHAT = {
    "input-messages--items": "0",
    "input-messages-0--pick": "0",
    "input-messages-0--of0-role": '"user"',
    "input-messages-0--of0-content": "Hi.",
}
"""A message of a list, as its fields on the start page have it."""
SHEET = {
    "zeta": "y", "number": 4, "amount": 19.99, "ratio": 0.3, "day": "2026-03-29", "plan": "Team", "plans": ["Free"],
    "tags": ["b"], "lines": [{"sku": "B-2", "count": 3}], "pay": {"kind": "card", "last_four": "1234"}, "sure": True,
    "prices": {"a": 0.1}, "either": "text", "anything": {"k": [1]},
}  # fmt: skip

CASES: list[Case] = [
    Case("asks_of_a_set", [{}], _of_trip, fields={}),
    Case("asks_in_a_loop", [{"born": None}], lambda payload: 1980 if "no year" in payload else "in May"),
    *(
        Case("asks_anything", [{}], lambda payload, given=given: given, name=repr(given)[:20])
        for given in (None, False, 0, "", [], {}, 0.5, 1e308, 2**53 + 1, 2**64 - 1, {"a" * 32: "yes"})
    ),
    Case("asks_in_a_chat", [{"messages": []}], lambda payload: [{"role": "user", "content": "Two."}], fields={}),
    Case("takes_a_text", ["cats"], lambda payload: f"fine, {payload['question']}", fields={"input": "cats"}),
    Case("takes_a_list", [["a", "b"]], lambda payload: payload["draft"].upper(), fields={"input": "a\nb"}),
    Case("takes_an_object", [{"about": "cats"}], lambda payload: "much"),
    Case("keeps_a_sum", [{"by": 2}, {"by": 3}], lambda payload: payload["question"] == "Keep 2?"),
    Case("gate_inside", [{"amount": 5}]),
    Case("gate_inside_own", [{"amount": 5}]),
    Case("sent_by_command", [{"month": "May"}], fields={"input-month": "May"}),
    Case("sent_by_edge", [{"month": "May"}]),
    Case("int_keys", [{"title": "x"}]),
    Case("odd_name", [{"text": "a"}], fields={"input-text": "a"}),
    *(
        Case(graph, [{"messages": form}], name=repr(form)[:20])
        for graph in ("chat_of_base", "chat_of_any", "chat_bare")
        for form in ("Hi.", ["Hi."], [["user", "Hi."]], CHAT, CHAT[0], [{"type": "human", "content": "Hi."}])
    ),
    Case("pictures", [{}], fields={}),
    Case("swarm", [{"messages": CHAT}, {"messages": [["user", "Once more."]]}]),
    Case("supervisor", [{"messages": CHAT}], lambda payload: "Graz" if "text_to_revise" in payload else True),
    Case("odds", [{"title": "x"}]),
    Case(
        "big_at_gate",
        [{"order": 2**53 + 1, "price": 5.0}],
        fields={"input-order": str(2**53 + 1), "input-price": "5.0"},
    ),
    *(Case("big_at_gate", [{"order": order, "price": 5.0}], name=str(order)) for order in (-(2**63), 2**63, 2**64 - 1)),
    Case("big_in_inbox", [BIG], _edit_price),
    *(
        Case("number", [{}], lambda payload, given=given: given, name=str(given))
        for given in (-(2**63), 2**64 - 1, 5.0)
    ),
    Case("texts", [{"messages": CHAT}], _edit_one),
    Case("texts_per_call", [{"messages": CHAT}], _edit_one),
    Case("texts_in_inbox", [{}], _edit_one),
    Case("sheet", [{"topic": "x"}], lambda payload: SHEET),
    *(
        Case("steps_of_a_cent", [{"topic": "x"}], lambda payload, a=a: {"amount": a, "ratio": 0.3}, name=str(a))
        for a in (19.99, 0.07, 4.35)
    ),
    Case("choice", [{"topic": "x"}], lambda payload: "b"),
    Case("yes_or_no", [{"topic": "x"}], lambda payload: False),
    Case("raw", [{"topic": "x"}], lambda payload: {"why": "so"}),
    Case("private", [{"message": "Hi."}], fields={"input-message": "Hi."}),
    Case("joke", [{"topic": "cats"}, {"topic": "dogs"}], fields={"input-topic": "cats"}),
    Case("coerced", [{"amount": "5"}]),
    Case("nested", [{"message": "Hi."}], lambda payload: "The door."),
    *(
        Case(graph, [MAIL, MAIL], lambda payload: [{"type": "response", "args": "later"}])
        for graph in ("remembering", "with_own_store")
    ),
    Case("by_get_store", [{"messages": CHAT}]),
    Case("with_context", [{"topic": "x"}], fields={"input-topic": "x", "context-model": "small"}),
    Case("with_context", [{"topic": "x"}], more={"context": {"model": "big"}}, name="context"),
    Case("with_context", [{"topic": "x"}], more={"config": {"configurable": {"model": "big"}}}, name="configurable"),
    Case("sent_with_context", [{}], lambda payload: payload, more={"context": {"model": "big"}}, name="context"),
    Case("by_config", [{"topic": "x"}]),
    Case("by_config", [{"topic": "x"}], more={"config": {"configurable": {"user_id": "ana"}}}, name="configurable"),
    *(Case(f"f_{name}", [{"topic": "x"}]) for name in ("plainly", "runtime", "keyword", "configured", "lazy")),
    *(
        Case(graph, [{"messages": CHAT}], fields=TYPED_CHAT, name="typed")
        for graph in ("chat_of_base", "chat_of_any", "chat_bare")
    ),
    Case("lines", [{"topic": "x"}], lambda payload: [{"sku": "A", "count": 2}, {"sku": "B"}]),
    Case("code", [{"messages": CHAT}], _approve_all),
    Case("structured", [{"messages": CHAT}], _approve_all),
    Case("t_react", [{"messages": CHAT}], _approve_all),
    Case(
        "t_react",
        [{"messages": CHAT}],
        _approve_all,
        more={"context": {"system_prompt": "Be brief.", "model": "big", "max_search_results": 1}},
        name="context",
    ),
    Case("t_memory", [{"messages": CHAT}, {"messages": [["user", "What do you know?"]]}]),
    Case("t_memory", [{"messages": CHAT}], more={"context": {"user_id": "ana"}}, name="context"),
    *(
        Case("t_email", [{"email_input": {"subject": subject, "body": "Noon."}, "messages": []}], _of_mail, name=name)
        for subject, name in (("Lunch", ""), ("Lunch?", "to respond to"), ("Sale", "to ignore"))
    ),
    *(Case(graph, [{"messages": CHAT}], _of_deep) for graph in ("t_deep", "t_deep_below", "t_deep_permitted")),
]
