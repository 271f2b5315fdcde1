"""Orders have an item and a quantity: what has not is refused, with everything that is wrong with it."""

import json

import wit_world
from wit_world.imports.types import Event, Outcome_Pass, Outcome_Reject

SCHEMA = {
    "item": ("a text", lambda value: isinstance(value, str) and value != ""),
    "quantity": ("a whole number from 1 to 99", lambda value: type(value) is int and 1 <= value <= 99),
}


class WitWorld(wit_world.WitWorld):
    def transform(self, event: Event):
        try:
            order = json.loads(event.data)
        except ValueError:
            return Outcome_Reject("not JSON")
        if not isinstance(order, dict):
            return Outcome_Reject("not an object")
        wrong = [f"{field} is {expected}" for field, (expected, check) in SCHEMA.items() if not check(order.get(field))]
        wrong += [f"{field} is not a field of an order" for field in order if field not in SCHEMA]
        return Outcome_Reject("; ".join(wrong)) if wrong else Outcome_Pass()
