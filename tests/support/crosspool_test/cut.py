"""Cuts of the peer link on loopback: silent (a black hole, no RST) or with resets."""
from . import shell


def _table(agent):
    """Of nftables, for one agent alone: several installations may be on the machine."""
    return f"crosspool_test_{agent.configuration['link']['port']}"


def heal(agent):
    """Takes back the silent cut of an agent, if there is one."""
    shell.run("nft", "delete", "table", "inet", _table(agent), check=False)


class SilentCut:
    """While open, everything to and from one agent's link port is dropped."""

    def __init__(self, agent):
        self.agent = agent
        self.address = agent.configuration["link"]["address"]
        self.port = agent.configuration["link"]["port"]

    def __enter__(self):
        table = _table(self.agent)
        shell.run("nft", "add", "table", "inet", table)
        shell.run("nft", "add", "chain", "inet", table, "cut",
                  "{ type filter hook input priority 0; }")
        for side in ("d", "s"):
            shell.run("nft", "add", "rule", "inet", table, "cut", "ip", f"{side}addr",
                      self.address, "tcp", f"{side}port", self.port, "drop")
        return self

    def __exit__(self, *_):
        heal(self.agent)


def reset_connections(agent):
    """Every TCP connection to the agent's link port ends with an abort at both sides."""
    link = agent.configuration["link"]
    shell.run("ss", "-K", "dst", link["address"], "dport", "=", str(link["port"]), check=False)
