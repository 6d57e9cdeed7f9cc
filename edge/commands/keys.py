"""`edge keys`: who may connect to our sockets, and who may read our pages."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "new": Entry("edge.commands.keys_curve:new", "Make the keys of a service."),
    "client": Entry("edge.commands.keys_curve:client", "Make keys for a client, and let it connect."),
    "list": Entry("edge.commands.keys_curve:list_clients", "Show who may connect."),
    "revoke": Entry("edge.commands.keys_curve:revoke", "Let a client no longer connect."),
    "token": Entry("edge.commands.keys_token:token", "Make, list and revoke tokens for HTTP."),
    "tls": Entry("edge.commands.keys_tls:tls", "Make a self-signed certificate for HTTPS."),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def keys() -> None:
    """Make, list and take back keys: who may connect from other machines.

    One folder holds the keys of a service; security.keys in edge.toml names it, and --keys of commands without one.

    \b
    Example:
      edge keys new
      edge keys client maps --output maps-keys     # then copy maps-keys to the machine of that client
    """
