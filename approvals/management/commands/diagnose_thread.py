"""Why is this thread not moving?"""

import sys
from json import dumps
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from approvals.actions.threads import diagnosis
from approvals.domain.diagnosis import Diagnosis
from approvals.domain.text import plain_visible
from approvals.errors import NotFound, Refusal
from approvals.management.people import person

NEEDS_SOMEBODY, NO_SUCH_THREAD = 1, 2


class Command(BaseCommand):
    help = (
        "Say why a thread is not moving, and what to do. Exits with 0 if it moves by itself or is done, 1 if somebody"
        " has to do something, 2 if there is no such thread."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("thread_id")
        parser.add_argument("--json", action="store_true", help="as GET /api/threads/THREAD_ID/diagnosis has it")
        parser.add_argument("--as", dest="username", default="root", help="the person who asks (root)")

    def handle(self, *, thread_id: str, json: bool, username: str, **options: Any) -> None:
        try:
            found = diagnosis.diagnose(thread_id=thread_id, by=person(username))
        except NotFound as refusal:
            raise CommandError(refusal.message, returncode=NO_SUCH_THREAD) from refusal
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(dumps(found.as_dict(), cls=DjangoJSONEncoder) if json else _text(found))
        if not found.is_moving:
            sys.exit(NEEDS_SOMEBODY)


def _text(found: Diagnosis) -> str:
    lines = [f"{found.health.value}: {found.sentence}"]
    lines += [f"  {place}. {step}" for place, step in enumerate(found.steps, 1)]
    return "\n".join(plain_visible(line) for line in lines)
