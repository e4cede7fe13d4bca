"""A router begins with nothing under way and takes requests in."""

from tests.server.router.fakes import FakeWorker, routed, said


def test_a_new_router_takes_requests_in() -> None:
    state = routed(FakeWorker(said("x"))).state
    assert (state.draining, state.in_flight, state.fleet.is_ready) == (False, 0, True)
