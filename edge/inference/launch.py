"""The command line and environment of the embedded server. Pure, but for finding free ports."""

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.inference.backend_env import BackendEnv, clean_environment, server_binary
from edge.inference.telemetry import NO_TELEMETRY

LOOPBACK = "127.0.0.1"
EXIT_TIMEOUT_S = 5
"""After killed or cancelled clients the default of 30 s is waited in full."""

ADMIN_PROTOCOLS = "model-repository,shared-memory,logging,trace,statistics"
"""These calls need a token that each start draws anew: loading a model runs code, a region is our memory, a verbose log
or a trace fills the disk, and the rest is nobody's business. Inference and readiness stay open, on loopback."""

TOKEN_HEADER = "edge-token"


@dataclass(frozen=True)
class Ports:
    """TCP ports of one server, all on the loopback address."""

    grpc: int
    metrics: int


def free_ports() -> Ports:
    """Two ports that are free now. Nothing keeps them so: whoever uses them must be ready to try others."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        numbers = [each.getsockname()[1] for each in sockets]
    return Ports(*numbers)


@dataclass(frozen=True)
class LaunchPlan:
    """Everything that tells one server start from another."""

    env: BackendEnv
    backends: Path
    repository: Path
    server_id: str
    ports: Ports
    token: str
    python_shm_bytes: int

    @property
    def shm_prefix(self) -> str:
        """Starts the names of the regions of this start, and of no other: `-t1.` is no prefix of `-t12.`."""
        return f"{self.server_id}."


def command_line(plan: LaunchPlan) -> tuple[str, ...]:
    """Arguments of tritonserver: explicit model control, loopback only, one flag per backend setting."""
    protocol = f"{ADMIN_PROTOCOLS}:{TOKEN_HEADER}={plan.token}"
    return (
        str(server_binary(plan.env)),
        f"--id={plan.server_id}",
        f"--model-repository={plan.repository}",
        f"--backend-directory={plan.backends}",
        "--model-control-mode=explicit",
        # The configurations are complete; guessing starts one more stub process per model.
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={plan.ports.grpc}",
        f"--grpc-restricted-protocol={protocol}",
        # Our keepalive pings come every 10 s, also during a long request; the default counts them as an attack.
        "--grpc-http2-min-recv-ping-interval-without-data=5000",
        "--allow-http=false",  # nothing asks there
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={plan.ports.metrics}",
        # One flag each: in a comma list the second setting silently becomes part of the first one's value.
        f"--backend-config=python,shm-default-byte-size={plan.python_shm_bytes}",
        f"--backend-config=python,shm-region-prefix-name={plan.shm_prefix}",
    )


def environment(env: BackendEnv) -> dict[str, str]:
    """Environment of tritonserver: the wanted interpreter first on PATH, the libraries it is linked against."""
    inherited = clean_environment()
    assert env.pytriton is not None
    folders = [str(env.pytriton.parent / "nvidia_pytriton.libs"), str(env.libpython() or "")]
    folders += [inherited["LD_LIBRARY_PATH"]] if inherited.get("LD_LIBRARY_PATH") else []
    path = os.pathsep.join((str(env.executable.parent), inherited.get("PATH", os.defpath)))
    return {**inherited, **NO_TELEMETRY, "PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(folders)}
