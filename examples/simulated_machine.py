"""The bank of replicated_machine.py under the simulator; then one with a mistake in it."""

import json
from random import Random

from replicated_machine import Bank

from ringleader.sim.user import simulate


class ForgetfulBank(Bank):
    def restore(self, source) -> None:
        super().restore(source)
        self.made = set()  # a transfer that is repeated after a restart moves money again


def transfers(random: Random) -> bytes:
    source, target = random.sample(["ann", "bob", "eve"], 2)
    return json.dumps([random.randrange(40), source, target, random.randrange(1, 60)]).encode()


def money_is_kept(bank: Bank) -> None:
    assert sum(bank.accounts.values()) == 300
    assert min(bank.accounts.values()) >= 0


print("Bank:", sound := simulate(Bank, transfers, invariant=money_is_kept, seeds=range(1, 7)))
print("ForgetfulBank:", broken := simulate(ForgetfulBank, transfers, invariant=money_is_kept))
assert sound.ok
assert not broken.ok
