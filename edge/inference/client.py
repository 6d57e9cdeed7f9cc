"""The gRPC client of the inference server: the only one (with `tensors`) that imports tritonclient.

Unary calls only. Streaming crashes the server at a window of 64, and HTTP's `async_infer` sleeps 10 ms a call.
Requests are blocking calls in threads of ours (`callers`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from tritonclient.grpc import InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException

from edge.inference.callers import Callers
from edge.inference.client_errors import UNFIT, classify
from edge.inference.launch import TOKEN_HEADER
from edge.inference.requests import Completion, InferenceError, Request, Span
from edge.inference.shared_memory import Region
from edge.inference.tensors import array_of, input_of, outputs_of

LARGEST_MESSAGE = 2**31 - 1

CHANNEL: tuple[tuple[str, int], ...] = (
    # Our own arguments replace tritonclient's, its message size limits included.
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    # A host that vanished is noticed within 15 s, also in the middle of a call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # More than two pings without data count as an attack on a server with default settings.
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Two clients of one process share no connection: each epoch's failures are its own.
    ("grpc.use_local_subchannel_pool", 1),
)

CONTROL_S = 10.0
LOAD_S = 120.0
IN_USE_S = 2.0


class InferenceClient:
    """Calls to one server; thread-safe. Control calls block and raise InferenceError.

    `client_timeout_s` is a last resort far above any latency: it cancels, and cancelled requests crash or leak
    in Triton 24.05 to 24.12 (triton-inference-server/server#7368, #8034). `token` opens the restricted calls.
    """

    def __init__(self, url: str, client_timeout_s: float = 60.0, token: str | None = None) -> None:
        """Make a client for `host:port`; nothing is sent yet."""
        self.url = url
        self._timeout_s = client_timeout_s
        self._headers = {} if token is None else {f"triton-grpc-protocol-{TOKEN_HEADER}": token}
        self._grpc: Any = InferenceServerClient(url, channel_args=list(CHANNEL))
        self._callers = Callers()
        self._closed = False
        self.suspect = ""
        """Why the server must be set up anew, told by answers: readiness calls do not notice it. Empty: no reason."""
        self._doubt = ""

    def submit(self, request: Request, on_done: Callable[[Completion], None]) -> None:
        """See `requests.Submitter`."""
        request.check()
        if self.suspect:  # whoever answers from now on may not be the server that passed our canaries
            on_done(_refused(request, self.suspect))
            return
        tensor = input_of(request)  # before we return: inline pixels may change then
        if not self._callers.put(lambda: on_done(self._ask(request, tensor))):
            on_done(_refused(request, "the connection was closed"))

    def doubt(self, reason: str) -> None:
        """See `requests.Submitter`."""
        self._doubt = reason

    def take_doubt(self) -> str:
        """Why the canary should be asked again; empty where there is no reason. Asked once, it is forgotten."""
        doubt, self._doubt = self._doubt, ""
        return doubt

    def identity(self, timeout_s: float = CONTROL_S) -> str:
        """The server's own id (its `--id`)."""
        with _typed_errors():
            return self._grpc.get_server_metadata(client_timeout=timeout_s).name

    def live(self, timeout_s: float = CONTROL_S) -> bool:
        """Whether the server answers at all. False, not an error, where it cannot be reached."""
        return self._yes_no(lambda: self._grpc.is_server_live(client_timeout=timeout_s))

    def model_ready(self, model: str, timeout_s: float = CONTROL_S) -> bool:
        """Whether `model` would take requests; False where the server does not know it.

        Asked model by model: a failed load of a new version makes the whole server "not ready" while the old
        version still serves. Raises InferenceError where the server does not answer in time.
        """
        with _typed_errors():
            return self._grpc.is_model_ready(model, client_timeout=timeout_s)

    def load(self, model: str, timeout_s: float = LOAD_S) -> None:
        """Load `model` from the repository; returns when it is ready."""
        with _typed_errors():
            self._grpc.load_model(model, headers=self._headers, client_timeout=timeout_s)

    def unload(self, model: str) -> None:
        """End `model` and its process. A model that is not loaded is no error."""
        with _typed_errors():
            self._grpc.unload_model(model, headers=self._headers, client_timeout=CONTROL_S)

    def register(self, region: Region) -> None:
        """Let the server map `region`, under the region's own name.

        A name that is registered already may stand for memory that is gone: it is registered anew.
        """
        try:
            self._register(region)
        except InferenceError as error:
            if "already" not in str(error).lower():
                raise
            self.unregister(region.name)
            self._register(region)

    def unregister(self, name: str) -> None:
        """Let the server unmap the region `name`. Raises InferenceError while requests that use it are in flight.

        The server keeps hold of a region for a moment after it has answered the last request, hence the patience.
        """
        deadline = time.monotonic() + IN_USE_S
        while True:
            try:
                with _typed_errors():
                    self._grpc.unregister_system_shared_memory(name, headers=self._headers, client_timeout=CONTROL_S)
                return
            except InferenceError as error:
                if "in use" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def registered(self, prefix: str) -> list[str]:
        """Names of the registered regions that start with `prefix`."""
        with _typed_errors():
            status = self._grpc.get_system_shared_memory_status(headers=self._headers, client_timeout=CONTROL_S)
        return sorted(name for name in status.regions if name.startswith(prefix))

    def unregister_prefix(self, prefix: str) -> None:
        """Unregister the regions that start with `prefix`, and nobody else's."""
        for name in self.registered(prefix):
            self.unregister(name)

    def close(self) -> None:
        """Close the channel: requests in flight complete as "unavailable". Idempotent."""
        if not self._closed:
            self._closed = True
            self._grpc.close()
            self._callers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _register(self, region: Region) -> None:
        with _typed_errors():
            self._grpc.register_system_shared_memory(
                region.name, f"/{region.name}", region.nbytes, headers=self._headers, client_timeout=CONTROL_S
            )

    def _yes_no(self, call: Callable[[], Any]) -> bool:
        try:
            with _typed_errors():
                return bool(call())
        except InferenceError:
            return False

    def _ask(self, request: Request, tensor: InferInput) -> Completion:
        try:
            result: InferResult = self._grpc.infer(
                request.model,
                [tensor],
                request_id=str(request.request_id),
                outputs=outputs_of(request),
                client_timeout=self._timeout_s,
            )
        except ValueError as error:  # gRPC: "Cannot invoke RPC on closed channel!"
            return _refused(request, str(error))
        except InferenceServerException as error:
            problem = _typed(error)
            self.suspect = self.suspect or _suspicion(problem)
            # with all in the message the server has no way to touch our memory
            ours = isinstance(request.frame, Span) or isinstance(request.outputs, Mapping)
            return Completion(request.request_id, problem, None, {}, problem.settled or not ours)
        return _answered(request, result)


def _answered(request: Request, result: InferResult) -> Completion:
    answer: Any = result.get_response()
    shapes = {output.name: tuple(output.shape) for output in answer.outputs}
    try:
        arrays = None if isinstance(request.outputs, Mapping) else {name: array_of(result, name) for name in shapes}
    except ValueError as reason:  # fewer bytes than the shape needs, as with numpy 2 in the backend
        broken = InferenceError("failed", f"{request.model} answered with a broken tensor: {reason}")
        return Completion(request.request_id, broken, None, {})
    return Completion(request.request_id, None, arrays, shapes)


def _refused(request: Request, reason: str) -> Completion:
    return Completion(request.request_id, InferenceError("unavailable", reason), None, {})


def _suspicion(problem: InferenceError) -> str:
    if UNFIT.search(str(problem)):
        return "it lost the process of a model, or our shared memory"
    if not problem.settled:
        # Only a server that is set up anew gives back the memory of such a request. And behind a connection that
        # was cut there may be another server by now, with other weights, that has not passed our canaries.
        how = "was not answered in time" if problem.kind == "overloaded" else "lost its connection"
        return f"a request {how}, so the server may still use its memory or be another one: {problem}"
    return ""


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
        raise _typed(error) from error
    except ValueError as error:  # gRPC: "Cannot invoke RPC on closed channel!"
        raise InferenceError("unavailable", str(error)) from error


def _typed(error: InferenceServerException | None) -> InferenceError:
    if error is None:
        return InferenceError("failed", "the server answered with nothing")
    return classify(error.status(), error.message() or "")
