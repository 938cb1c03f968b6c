"""Cuts of the peer link on loopback: silent (a black hole, no RST) or with resets."""
from . import shell

TABLE = "crosspool_test"


class SilentCut:
    """While open, everything to and from one agent's link port is dropped."""

    def __init__(self, agent):
        self.address = agent.configuration["link"]["address"]
        self.port = agent.configuration["link"]["port"]

    def __enter__(self):
        shell.run("nft", "add", "table", "inet", TABLE)
        shell.run("nft", "add", "chain", "inet", TABLE, "cut",
                  "{ type filter hook input priority 0; }")
        for side in ("d", "s"):
            shell.run("nft", "add", "rule", "inet", TABLE, "cut", "ip", f"{side}addr",
                      self.address, "tcp", f"{side}port", self.port, "drop")
        return self

    def __exit__(self, *_):
        shell.run("nft", "delete", "table", "inet", TABLE)


def reset_connections(agent):
    """Every TCP connection to the agent's link port ends with an abort at both sides."""
    link = agent.configuration["link"]
    shell.run("ss", "-K", "dst", link["address"], "dport", "=", str(link["port"]), check=False)
