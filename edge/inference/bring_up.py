"""From a server that answers to models that may serve: regions, loading, canaries."""

import ipaddress
import logging
import re

from edge.inference.canaries import Canaries
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Plan, Served, Transport
from edge.inference.requests import InferenceError
from edge.inference.shm_names import PREFIX, is_owned, keep_private

LOG = logging.getLogger(__name__)

MOST_PYTHON_SHM = 256 << 20
"""A model whose batches are larger makes its memory grow at its first requests."""

RESTRICTED = "protocol is restricted"
ABSENT = re.compile(r"explicit model load / unload is not allowed|failed to poll from model repository", re.IGNORECASE)
"""A server that loads only what it finds by itself, or that does not find it."""

LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def bring_up(client: InferenceClient, plan: Plan, url: str, anew: bool = False) -> tuple[Transport, Canaries]:
    """Make every model of `plan` ready on the live server behind `client`; say how frames may travel.

    `anew` loads models again that are ready: their processes are new ones then. The canaries have passed, and are
    the caller's to close. Raises ServerError where a model does not load, CanaryError where one answers wrongly,
    InferenceError where the server goes away meanwhile.
    """
    transport = _choose_transport(client, plan, is_loopback(url))
    for served in plan.models:
        for model in served.variants():
            if anew:
                client.unload(model)
            load(client, model, plan)
    keep_private(plan.namespace.prefix)  # before the first frame: a umask does not reach what Triton makes
    canaries = Canaries(client, plan, transport)
    try:
        canaries.check()
    except BaseException:
        canaries.close()
        raise
    return transport, canaries


def is_loopback(url: str) -> bool:
    """Whether `host:port` names this host, so that its /dev/shm may be ours."""
    host = url.rpartition(":")[0].strip("[]")
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def python_shm_bytes(models: tuple[Served, ...]) -> int:
    """First size of the memory between server and model process: twice the largest batch, at least 16 MiB.

    It is reserved once per model, all models alike (the server has one setting), and grows by itself, slowly. An
    axis that the series chooses is taken as 1024.
    """
    largest = 0
    for served in models:
        height, width = (1024 if axis < 0 else axis for axis in served.spec.frame_shape)
        largest = max(largest, served.spec.max_batch * height * width * max(served.itemsizes))
    return min(max(16 << 20, 2 * largest), MOST_PYTHON_SHM)


def _choose_transport(client: InferenceClient, plan: Plan, loopback: bool) -> Transport:
    if plan.transport == "inline":
        return "inline"
    if plan.transport == "auto" and not loopback:
        LOG.info("frames travel inline: %s is not this host", client.url)
        return "inline"
    try:
        for region in plan.regions:
            client.register(region)
        if plan.regions:
            _forget_the_dead(client)
    except InferenceError as error:
        if error.kind == "unavailable":
            raise
        if plan.transport == "shm":
            raise ServerError(f"{client.url} cannot map our shared memory: {_shm_remedy(error)}") from error
        LOG.warning("frames travel inline: %s cannot map our shared memory: %s", client.url, error)
        return "inline"
    return "shm"


def _shm_remedy(error: InferenceError) -> str:
    inline = 'set server.transport to "inline"'
    if RESTRICTED in str(error):
        return f"it restricts who may register any: lift that there (--grpc-restricted-protocol) or {inline}"
    return f"its /dev/shm is another one than ours: share it (docker --ipc=host) or {inline} ({error})"


def _forget_the_dead(client: InferenceClient) -> None:
    """Unregister regions of our kind whose owner died without doing so: the server keeps their memory.

    The server has just mapped ours, so its /dev/shm is this one and the owner's lock can be looked at here.
    """
    for name in client.registered("edge-"):
        prefix = PREFIX.match(name)
        if prefix is not None and not is_owned(prefix.group()):
            client.unregister(name)


def load(client: InferenceClient, model: str, plan: Plan) -> None:
    """Load `model` unless it is ready. Raises ServerError where it does not load, InferenceError without an answer."""
    if client.model_ready(model):
        return
    try:
        client.load(model, plan.timing.load_s)
    except InferenceError as error:
        if error.kind == "unavailable" and not error.settled:
            raise
        if plan.url is not None and ABSENT.search(str(error)):
            remedy = "build its repository with `edge models build --output DIR` and serve that"
            raise ServerError(f"the server at {plan.url} does not have {model}: {remedy}") from error
        if RESTRICTED in str(error):
            remedy = f"load it there (tritonserver --load-model={model})"
            raise ServerError(f"the server at {client.url} restricts who may load {model}: {remedy}") from error
        raise ServerError(f"{model} does not load: {error}") from error
    if not client.model_ready(model):
        raise ServerError(f"{model} was loaded and is not ready: see the server's log")
