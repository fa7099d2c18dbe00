"""
The contract of `django_gearman.backends.base`, as tests that run on any transport.

To test a transport, subclass `TransportContract` in a test module:

    class TestMyTransport(TransportContract):
        def make_backend(self):
            return MyBackend([ServerAddress.parse("127.0.0.1:4730")])

gearmand is the reference. It needs pytest.
"""

from .jobs import JobsContract
from .loops import LoopsContract
from .queues import QueuesContract
from .slots import SlotsContract
from .workers import WorkersContract

__all__ = ["TransportContract"]


class TransportContract(
    JobsContract, LoopsContract, QueuesContract, SlotsContract, WorkersContract
):
    """
    The tests of a transport; a subclass must define `make_backend`.

    Pytest makes a new instance for each test. So an autouse fixture of the subclass can choose the
    job server, and store it on `self`.
    """
