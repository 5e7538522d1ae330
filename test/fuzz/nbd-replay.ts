// Recorded answers of NBD servers. A recording has what the server sent before each message of the client: first the
// greeting, then the answer to the client's flags, and so on. So it can be replayed to a client that asks the same.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

/** Bytes of the client's flags, of the head of an option, and of a request: NetworkBlockDevice/nbd, doc/proto.md. */
const [flagsLength, optionHead, requestLength] = [4, 16, 28];
const optionGo = 7;

/** Counts the messages that a client sends. */
class ClientMessages {
  count = 0;
  #input: Buffer = Buffer.alloc(0);
  #stage: 'flags' | 'options' | 'requests' = 'flags';

  push(data: Uint8Array): void {
    this.#input = Buffer.concat([this.#input, data]);
    for (;;) {
      const length = this.#length();
      if (this.#input.length < length) return;
      if (this.#stage === 'flags') this.#stage = 'options';
      else if (this.#stage === 'options' && this.#input.readUInt32BE(8) === optionGo) this.#stage = 'requests'; // prettier-ignore
      this.#input = this.#input.subarray(length);
      this.count += 1;
    }
  }

  #length(): number {
    if (this.#stage === 'flags') return flagsLength;
    if (this.#stage === 'requests') return requestLength;
    const isHead = this.#input.length >= optionHead;
    return optionHead + (isHead ? this.#input.readUInt32BE(12) : 0);
  }
}

/** The parts of a recording: each has its length before it. What is left of a recording that is cut off is a part, too. */
export function partsOf(recording: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < recording.length;) {
    const length = at + 4 <= recording.length ? recording.readUInt32BE(at) : 0;
    parts.push(recording.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return parts;
}

export function recordingOf(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(part.length);
      return [length, part];
    }),
  );
}

/** Listens at `path` and passes everything to the server at `target`. @returns what stops it, with the recording */
export async function recordServer(path: string, target: string): Promise<() => Buffer> {
  const parts: Buffer[][] = [[]];
  const server = createServer((client) => {
    const messages = new ClientMessages();
    const upstream = connect(target);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    upstream.on('data', (data: Buffer) => {
      (parts[messages.count] ??= []).push(Buffer.from(data));
      client.write(data);
    });
    client.on('data', (data: Buffer) => {
      messages.push(data);
      upstream.write(data);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  server.listen(path);
  await once(server, 'listening');
  return () => {
    server.close();
    return recordingOf(Array.from(parts, (part?: Buffer[]) => Buffer.concat(part ?? [])));
  };
}

/** How often the event loop turns before a client that asks nothing more is taken to wait in vain. */
const idleTurns = 25;

/** Replays a recording to each client: `current` gives the one for the next. */
export async function replayServer(path: string, current: () => Buffer): Promise<Server> {
  const server = createServer((socket) => {
    void replay(socket, partsOf(current()));
  });
  server.listen(path);
  await once(server, 'listening');
  return server;
}

async function replay(socket: Socket, parts: readonly Buffer[]): Promise<void> {
  const messages = new ClientMessages();
  let closed = false as boolean;
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  socket.on('data', (data: Buffer) => messages.push(data));
  let sent = 0;
  // Client and server are in one process, so a few turns are enough for all that is on its way.
  for (let idle = 0; idle < idleTurns && !closed; idle++) {
    while (sent <= messages.count && sent < parts.length) {
      socket.write(parts[sent] ?? Buffer.alloc(0));
      sent += 1;
      idle = 0;
    }
    await turn();
  }
  socket.end();
}
