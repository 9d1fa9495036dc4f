"""The only wiring of the back office: settings in, a working process out.

Any number of back offices may run at once: each piece of work sees to it that two of them do it once.
"""

import asyncio

from service_kit.background import run_background
from service_kit.database import Database
from transaction_service.back_office import integrity, payouts, sealing, webhooks
from transaction_service.back_office.settings import BackOfficeSettings


async def serve(settings: BackOfficeSettings) -> None:
    """Returns after a clean stop."""
    database = Database(settings, "specie back office")
    # What reads everything that is posted takes turns: two such statements at once would take both of two processors.
    reading = Database(settings.model_copy(update={"read_threads": 1}), "specie back office record")
    parts = [
        part
        for part in (
            sealing.part(reading, settings),
            integrity.part(reading, settings),
            payouts.part(database, settings),
            webhooks.part(database, settings),
        )
        if part is not None
    ]

    async def close() -> None:
        for part in parts:
            await part.close()
        for connections in (reading, database):
            await asyncio.to_thread(connections.close)

    await run_background(database.ping, [part.run for part in parts], close, settings)
