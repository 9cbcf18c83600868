"""Types of request bodies and query parameters."""

from typing import Annotated, Any

from ninja import Schema
from ninja.params.models import ParamModel
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from agentcore.plain.schemas import unstorable


def _storable_text(text: str) -> str:
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("This text has a NUL or a lone surrogate, which cannot be stored.")
    return text


def _storable(value: Any) -> Any:
    for fault in unstorable(value, ""):
        at = f" At {fault.path[:200].strip('/')}." if fault.path.strip("/") else ""
        raise ValueError(fault.message + at)
    return value


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("This must be an object.")
    return value


def _checkpoint_id(value: Any) -> Any:
    """Take the id out of what the LangGraph SDK sends: an id, a whole checkpoint, or a config with one."""
    value = value.get("configurable", value) if isinstance(value, dict) else value
    return value.get("checkpoint_id") if isinstance(value, dict) else value


Text = Annotated[str, AfterValidator(_storable_text)]

ThreadId = Annotated[Text, Field(max_length=255, description="As LangGraph has it; slashes in it are escaped.")]
CheckpointId = Annotated[
    str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$", description="A checkpoint of this thread, as its history lists them.")
]
CheckpointRef = Annotated[
    CheckpointId,
    BeforeValidator(_checkpoint_id),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"},
                {"type": "object", "properties": {"checkpoint_id": {"type": "string"}}, "required": ["checkpoint_id"]},
            ]
        }
    ),
]


class CheckpointPlace(BaseModel):
    """A checkpoint as the LangGraph SDK has it. With `checkpoint_ns` it is of that subgraph."""

    model_config = ConfigDict(defer_build=True)

    thread_id: Text | None = None
    checkpoint_ns: Annotated[Text, Field(max_length=2_000)] = ""
    checkpoint_id: CheckpointId | None = None
    checkpoint_map: Annotated[Any, WithJsonSchema({})] = None

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        """Take an id alone, and a config that has a checkpoint."""
        if isinstance(given, str):
            return {"checkpoint_id": given}
        return given.get("configurable", given) if isinstance(given, dict) else given


JsonObject = Annotated[Any, AfterValidator(_object), AfterValidator(_storable), WithJsonSchema({"type": "object"})]
JsonValue = Annotated[Any, AfterValidator(_storable), WithJsonSchema({})]

# Not validated: lone surrogates and odd keys are data here, and people must see them.
PlainObject = Annotated[Any, WithJsonSchema({"type": "object"})]
PlainList = Annotated[Any, WithJsonSchema({"type": "array"})]
PlainValue = Annotated[Any, WithJsonSchema({})]


class ApiRecord(BaseModel):
    """What the API takes or gives. Pydantic builds what checks it when it is first used: a start would wait for all."""

    model_config = ConfigDict(defer_build=True)


_BASES: tuple[type[BaseModel], ...] = (Schema, *ParamModel.__subclasses__())
"""Of what ninja makes around them for each operation."""
for _base in _BASES:
    _base.model_config["defer_build"] = True


class Body(ApiRecord):
    """A request body. Unknown fields are refused: ignoring a misspelt `edits` would approve without the edit."""

    model_config = ConfigDict(extra="forbid")


class QueryFilters(ApiRecord):
    """Query parameters. An empty one counts as missing; unknown ones are ignored."""

    @model_validator(mode="before")
    @classmethod
    def _drop_blank(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given
