"""
What every transport must do, as tests that run on any: the contract of `django_gearman.backends.base`.

Whoever writes a transport subclasses `TransportContract` in a test module:

    class TestMyTransport(TransportContract):
        def make_backend(self):
            return MyBackend([ServerAddress.parse("127.0.0.1:4730")])

gearmand is the reference. It needs pytest.
"""

from .jobs import JobsContract
from .queues import QueuesContract
from .workers import WorkersContract

__all__ = ["TransportContract"]


class TransportContract(JobsContract, QueuesContract, WorkersContract):
    """
    The tests; a subclass has one method to write, `make_backend`.

    Pytest makes a new instance for each test, so what the job server is may be decided in an autouse
    fixture of the subclass, which leaves it on `self`.
    """
