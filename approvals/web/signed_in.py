"""Who is signed in, read with their roles: every page needs both."""

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User

from approvals.domain import permissions


class SignedIn(ModelBackend):
    """Django's own sign-in by name and password. On each request, a person and their roles are one statement."""

    def get_user(self, user_id: int) -> User | None:
        found = permissions.person_of_session(user_id)
        return found if found is not None and self.user_can_authenticate(found) else None
