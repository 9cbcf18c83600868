"""Each kind of run that a row can name has a class that carries it out, and traits that web processes know."""

from approvals.domain.run_traits import traits_of
from approvals.enums import RunKind


def test_each_kind_of_run_can_be_carried_out(database: str) -> None:
    from approvals.actions.runs.kinds import KINDS, Kind, kind_of

    assert KINDS.keys() == {kind.value for kind in RunKind}
    assert all(isinstance(kind_of(kind.value), Kind) for kind in RunKind)


def test_each_kind_of_run_has_traits() -> None:
    assert all(traits_of(kind.value) for kind in RunKind)
