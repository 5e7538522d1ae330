import { describe, expect, test } from '@jest/globals';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../lib/report/errors.ts';
import {
  chunk,
  dataChunk,
  greeting,
  holeChunk,
  optionReply,
  scripted,
  simpleReply,
  statusChunk,
  u16,
  u32,
  u64,
  type Request,
  type Script,
} from './scripted-server.ts';
import { collect, reading, wholeDisk } from '../support/nbd-servers.ts';

const KiB = 1024;
const whole = [{ offset: 0, length: 64 * KiB }];

/** What reading a 64 KiB disk of such a server ends with. */
async function outcome(script: Script, stallMs = 2000): Promise<Buffer | Error> {
  return await scripted({ size: 64 * KiB, ...script }, (socket) =>
    reading(socket, (reader) => collect(reader, whole), { stallMs }).catch(
      (error: unknown) => error as Error,
    ),
  );
}

async function refusal(script: Script, stallMs?: number): Promise<string> {
  const error = await outcome(script, stallMs);
  expect(error).toBeInstanceOf(FailedError);
  return (error as Error).message;
}

const pattern = (request: Request): Buffer =>
  Buffer.from(Array.from({ length: request.length }, (_, at) => (request.offset + at) % 251));

/** Sends what `reply` makes of a read request. */
const sends =
  (reply: (request: Request) => Buffer) =>
  (request: Request, socket: Socket): void => {
    socket.write(reply(request));
  };

describe('an unusual but honest server', () => {
  const expected = pattern({ type: 0, cookie: Buffer.alloc(0), offset: 0, length: 64 * KiB });

  test('an unusual but honest NBD server may send the chunks of a reply in any order, with holes, and the end apart', async () => {
    const read = sends((request) => {
      const { cookie, offset } = request;
      const data = pattern(request);
      return Buffer.concat([
        dataChunk(cookie, offset + 40_000, data.subarray(40_000), false),
        holeChunk(cookie, offset + 100, 900, false),
        dataChunk(cookie, offset, data.subarray(0, 100), false),
        dataChunk(cookie, offset + 1000, data.subarray(1000, 40_000), false),
        chunk(cookie, 0, Buffer.alloc(0)),
      ]);
    });
    const holed = Buffer.from(expected).fill(0, 100, 1000);
    expect(holed.equals((await outcome({ read })) as Buffer)).toBe(true);
  });

  test('an unusual but honest NBD server may send its bytes one by one', async () => {
    const read = (request: Request, socket: Socket): void => {
      void (async () => {
        const reply = dataChunk(request.cookie, request.offset, pattern(request));
        for (let at = 0; at < 60; at++) {
          socket.write(reply.subarray(at, at + 1));
          await sleep(1);
        }
        socket.write(reply.subarray(60));
      })();
    };
    expect(expected.equals((await outcome({ read })) as Buffer)).toBe(true);
  });

  test('an unusual but honest NBD server may answer requests in another order, and chunk by chunk in turns', async () => {
    const MiB = KiB * KiB;
    const waiting: Request[] = [];
    const read = (request: Request, socket: Socket): void => {
      waiting.unshift(request);
      if (waiting.length < 8) return;
      const halves = [0, 1].flatMap((half) =>
        waiting.map((one) => {
          const data = pattern(one).subarray(
            (half * one.length) / 2,
            ((half + 1) * one.length) / 2,
          );
          return dataChunk(one.cookie, one.offset + (half * one.length) / 2, data, half === 1);
        }),
      );
      socket.write(Buffer.concat(halves));
    };
    await scripted({ size: 4 * MiB, read }, (socket) =>
      reading(socket, async (reader) => {
        const all = pattern({ type: 0, cookie: Buffer.alloc(0), offset: 0, length: 4 * MiB });
        expect((await wholeDisk(reader)).equals(all)).toBe(true);
      }),
    );
  });

  test('an unusual but honest NBD server may refuse structured replies: then everything is data', async () => {
    const read = sends((request) => simpleReply(request.cookie, 0, pattern(request)));
    expect(expected.equals((await outcome({ structured: false, read })) as Buffer)).toBe(true);
    await scripted({ structured: false, size: 1000 }, (socket) =>
      reading(socket, async (reader) => {
        expect([...(await reader.extents())]).toEqual([{ offset: 0, length: 1000 }]);
      }),
    );
  });

  test('an unusual but honest NBD server may know no metadata contexts: then everything is data', () =>
    scripted({ context: false, size: 1000 }, (socket) =>
      reading(socket, async (reader) => {
        expect([...(await reader.extents())]).toEqual([{ offset: 0, length: 1000 }]);
      }),
    ));

  test('an unusual but honest NBD server may describe less or more than it was asked, and touching extents are one', async () => {
    const all: readonly (readonly [number, number])[] = [
      [4096, 3],
      [4096, 0],
      // A hole that does not promise zeros is data.
      [4096, 1],
      [4096, 2],
    ];
    const status = sends(({ cookie, offset }) => {
      const at = offset / 4096;
      return statusChunk(
        cookie,
        at === 2
          ? [
              [4096, 0],
              [4096, 3],
              [2 ** 31, 0],
            ]
          : [all[at]!],
      );
    });
    await scripted({ size: 64 * KiB, status }, (socket) =>
      reading(socket, async (reader) => {
        expect([...(await reader.extents())]).toEqual([
          { offset: 4096, length: 8192 },
          { offset: 16_384, length: 64 * KiB - 16_384 },
        ]);
      }),
    );
  });

  test('an unusual but honest NBD server may report errors with and without an offset, and stays usable', async () => {
    let count = 0;
    const read = sends((request) => {
      const text = Buffer.from('disk\u0007 on fire\n');
      const error = Buffer.concat([u32(5), u16(text.length), text]);
      const { cookie, offset } = request;
      if (++count === 1) return chunk(cookie, 0x8002, Buffer.concat([error, u64(offset + 512)]));
      if (count === 2) return chunk(cookie, 0x8001, error);
      if (count === 3) return simpleReply(cookie, 28);
      return dataChunk(cookie, offset, pattern(request));
    });
    await scripted({ size: 64 * KiB, read }, (socket) =>
      reading(socket, async (reader) => {
        const prefix = 'cannot read disk 0 of VM 7 at offset';
        const eio = 'Input/output error (EIO): disk on fire';
        await expect(collect(reader, whole)).rejects.toThrow(`${prefix} 512: ${eio}`);
        await expect(collect(reader, whole)).rejects.toThrow(`${prefix} 0: ${eio}`);
        await expect(collect(reader, whole)).rejects.toThrow(`${prefix} 0: No space left`);
        expect((await collect(reader, whole)).equals(expected)).toBe(true);
      }),
    );
  });
});

describe('a server that breaks the protocol while reading is left with an error', () => {
  test.each<[string, (request: Request) => Buffer, string]>([
    ['noise', () => Buffer.alloc(100, 7), 'malformed reply'],
    ['a wrong cookie', (r) => dataChunk(Buffer.alloc(8, 1), r.offset, pattern(r)), 'not made'],
    ['a cookie not yet used', (r) => dataChunk(u64(99), r.offset, pattern(r)), 'not made'],
    [
      'more data than asked for',
      (r) => dataChunk(r.cookie, r.offset, Buffer.alloc(r.length + 1)),
      'outside of what was asked for',
    ],
    [
      'data from far behind the request',
      (r) => dataChunk(r.cookie, r.offset + 2 ** 40, Buffer.alloc(512)),
      'outside of what was asked for',
    ],
    [
      'an offset beyond all numbers',
      (r) => chunk(r.cookie, 1, Buffer.alloc(520, 255)),
      'outside of what was asked for',
    ],
    [
      'less data than asked for',
      (r) => dataChunk(r.cookie, r.offset, pattern(r).subarray(1)),
      'without all that was asked for',
    ],
    ['no data', (r) => chunk(r.cookie, 0, Buffer.alloc(0)), 'without all that was asked for'],
    [
      'the same data twice',
      (r) =>
        Buffer.concat([
          dataChunk(r.cookie, r.offset, pattern(r), false),
          holeChunk(r.cookie, r.offset + 5, 5),
        ]),
      'the same data twice',
    ],
    ['a hole of no length', (r) => holeChunk(r.cookie, r.offset, 0), 'outside of what'],
    ['a hole that is too long', (r) => holeChunk(r.cookie, r.offset, 2 ** 31), 'outside of what'],
    ['a hole of a wrong form', (r) => chunk(r.cookie, 2, Buffer.alloc(11)), 'malformed reply'],
    ['a data chunk without data', (r) => chunk(r.cookie, 1, Buffer.alloc(8)), 'malformed reply'],
    ['an end that is none', (r) => chunk(r.cookie, 0, Buffer.alloc(0), false), 'malformed reply'],
    ['an unknown chunk', (r) => chunk(r.cookie, 77, Buffer.alloc(4)), 'unknown reply chunk 77'],
    ['block status', (r) => statusChunk(r.cookie, [[512, 0]]), 'malformed block status'],
    ['an error without error', (r) => chunk(r.cookie, 0x8001, Buffer.alloc(6)), 'malformed error'],
    ['an error cut short', (r) => chunk(r.cookie, 0x8001, Buffer.alloc(5)), 'malformed error'],
    [
      'an error whose text does not fit',
      (r) => chunk(r.cookie, 0x8001, Buffer.concat([u32(5), u16(999)])),
      'malformed error',
    ],
    [
      'an error of 4 GiB',
      (r) =>
        Buffer.concat([chunk(r.cookie, 0x8001, Buffer.alloc(0)).subarray(0, 16), u32(2 ** 32 - 1)]),
      'malformed error',
    ],
    [
      'a simple reply for data',
      (r) => simpleReply(r.cookie, 0, pattern(r)),
      'simple reply where a structured one is due',
    ],
  ])(
    'an NBD server that breaks the protocol while reading is left with an error: %s',
    async (_, reply, message) => {
      const read = sends(reply);
      expect(await refusal({ read })).toContain(message);
    },
  );

  test('an NBD server that breaks the protocol while reading is left with an error: a structured reply that was never agreed on', async () => {
    const read = sends((request) => dataChunk(request.cookie, 0, pattern(request)));
    expect(await refusal({ structured: false, read })).toContain('malformed reply');
  });

  test('an NBD server that breaks the protocol while reading is left with an error: the end of the connection in the middle of data', async () => {
    const read = (request: Request, socket: Socket): void => {
      socket.end(dataChunk(request.cookie, request.offset, pattern(request)).subarray(0, 30_000));
    };
    expect(await refusal({ read })).toContain('the connection was lost');
  });

  test('an NBD server that breaks the protocol while reading is left with an error: silence in the middle of data', async () => {
    const read = sends((request) =>
      dataChunk(request.cookie, request.offset, pattern(request)).subarray(0, 30_000),
    );
    expect(await refusal({ read }, 200)).toContain('no answer for 0.2 s');
  });

  test('an NBD server that breaks the protocol while reading is left with an error: a flood that nobody asked for', async () => {
    const status = (request: Request, socket: Socket): void => {
      socket.write(statusChunk(request.cookie, [[request.length, 3]]));
      socket.write(Buffer.alloc(10_000_000));
    };
    await scripted({ size: 64 * KiB, status }, (socket) =>
      reading(socket, async (reader) => {
        expect([...(await reader.extents())]).toEqual([]);
        await sleep(100);
        await expect(collect(reader, whole)).rejects.toThrow('malformed reply');
      }),
    );
  });

  test('an NBD server that breaks the protocol while reading is left with an error: a thousand shreds of one request', async () => {
    const read = sends((request) => {
      const shreds = Array.from({ length: 3000 }, (_, at) =>
        dataChunk(request.cookie, request.offset + at * 2, Buffer.alloc(1), false),
      );
      return Buffer.concat(shreds);
    });
    expect(await refusal({ read })).toContain('cannot read disk 0 of VM 7');
  });
});

describe('a server that lies about its data is left with an error', () => {
  test.each<[string, (request: Request) => Buffer]>([
    ['no descriptors', (r) => chunk(r.cookie, 5, u32(5))],
    ['a descriptor of no length', (r) => statusChunk(r.cookie, [[0, 0]])],
    ['another context', (r) => statusChunk(r.cookie, [[4096, 0]], 6)],
    ['half a descriptor', (r) => chunk(r.cookie, 5, Buffer.alloc(15))],
    ['no status at all', (r) => chunk(r.cookie, 0, Buffer.alloc(0))],
    ['data', (r) => dataChunk(r.cookie, r.offset, Buffer.alloc(512))],
    ['a simple reply', (r) => simpleReply(r.cookie, 0)],
    [
      'a status of 4 GiB',
      (r) => Buffer.concat([chunk(r.cookie, 5, Buffer.alloc(0)).subarray(0, 16), u32(2 ** 32 - 4)]),
    ],
  ])('an NBD server that lies about its data is left with an error: %s', async (_, reply) => {
    await scripted({ size: 64 * KiB, status: sends(reply) }, (socket) =>
      reading(socket, (reader) => expect(reader.extents()).rejects.toThrow(FailedError)),
    );
  });

  test('an NBD server that lies about its data is left with an error: a disk of 8 PiB in descriptors of one byte', async () => {
    const descriptors = Array.from({ length: 2 ** 20 }, (_, at) => [1, at % 2 ? 3 : 0] as const);
    const payload = statusChunk(u64(0), descriptors);
    const status = sends((request) => {
      request.cookie.copy(payload, 8);
      return Buffer.from(payload);
    });
    await scripted({ size: 2 ** 53 - 1, status }, (socket) =>
      reading(socket, (reader) => expect(reader.extents()).rejects.toThrow('fragments')),
    );
  });
});

describe('a handshake that goes wrong is an error', () => {
  const oldstyle = Buffer.concat([Buffer.from('NBDMAGIC'), Buffer.from('00420281861253', 'hex')]);
  test.each<[string, Script, string]>([
    ['something else listens', { greeting: Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n') }, 'not speak'],
    ['only half is NBD', { greeting: Buffer.from('NBDMAGICxxxxxxxxxx') }, 'does not speak NBD'],
    [
      'oldstyle',
      {
        greeting: Buffer.concat([oldstyle.subarray(0, 8), Buffer.from('0000420281861253', 'hex')]),
      },
      'oldstyle',
    ],
    [
      'newstyle that is not fixed',
      { greeting: Buffer.concat([greeting.subarray(0, 16), u16(0)]) },
      'fixed newstyle',
    ],
    ['noise for an answer', { option: () => Buffer.alloc(64, 9) }, 'malformed answer'],
    [
      'an answer to another option',
      { option: (id) => optionReply(id + 1, 1) },
      'malformed answer in the handshake',
    ],
    [
      'an answer of 4 GiB',
      { option: (id) => Buffer.concat([optionReply(id, 1).subarray(0, 16), u32(2 ** 32 - 1)]) },
      'malformed answer in the handshake',
    ],
    [
      'endless information',
      {
        option: (id) =>
          id === 7
            ? Buffer.concat(Array.from({ length: 1000 }, () => optionReply(7, 3, u16(99))))
            : undefined,
      },
      'no end',
    ],
    [
      'no size',
      { option: (id) => (id === 7 ? optionReply(7, 1) : undefined) },
      'does not say how big',
    ],
    [
      'a size beyond all numbers',
      {
        option: (id) =>
          id === 7 ? optionReply(7, 3, Buffer.concat([u16(0), Buffer.alloc(10, 255)])) : undefined,
      },
      'too big',
    ],
    [
      'impossible block sizes',
      {
        option: (id) =>
          id === 7
            ? optionReply(7, 3, Buffer.concat([u16(3), u32(3), u32(4096), u32(65536)]))
            : undefined,
      },
      'impossible block sizes',
    ],
    [
      'TLS required',
      { option: (id) => (id === 7 ? optionReply(7, 0x80000005) : undefined) },
      'requires TLS',
    ],
    [
      'a refusal with reasons',
      {
        option: (id) =>
          id === 7 ? optionReply(7, 0x80000002, Buffer.from('go\x1b[2J away')) : undefined,
      },
      'forbidden by the server (NBD_REP_ERR_POLICY): go [2J away',
    ],
  ])('an NBD handshake that goes wrong is an error: %s', async (_, script, message) => {
    expect(await refusal(script)).toContain(message);
  });

  test('an NBD handshake that goes wrong is an error: silence from the start', async () => {
    expect(await refusal({ greeting: Buffer.alloc(0) }, 200)).toContain('no answer for 0.2 s');
  });

  test('an NBD handshake that goes wrong is an error: an end in the middle', async () => {
    expect(await refusal({ greeting: greeting.subarray(0, 12) }, 200)).toContain('no answer');
  });
});
