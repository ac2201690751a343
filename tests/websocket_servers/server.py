"""A WebSocket server. Prints its port. Arguments: the port (0 for any), `subprotocol`, and a folder with a certificate."""

import asyncio
import ssl
import sys

from websockets.asyncio.server import serve

async def handle(connection):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "asked")
            return
        elif message == "chatter":
            for number in range(200):
                await connection.send(f"{number}")
        elif message == "ping":
            await (await connection.ping())
            await connection.send("pong received")
        else:
            await connection.send(message)


async def main():
    port = int(sys.argv[1])
    options = {"max_size": 64 << 20, "compression": None, "subprotocols": ["b"] if "subprotocol" in sys.argv else None}
    folder = [argument for argument in sys.argv if "/" in argument][1:]
    if folder:
        options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        options["ssl"].load_cert_chain(folder[0] + "/chain.pem", folder[0] + "/key.pem")
    async with serve(handle, "127.0.0.1", port, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
