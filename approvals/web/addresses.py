"""Thread ids in addresses: LangGraph takes any text, so they may hold slashes and line breaks."""

from django.urls import register_converter


class AnyText:
    """As Django's `path`, which stops at a line break."""

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(AnyText, "any")
