import { afterEach, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import fc from 'fast-check';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { InterruptedError, OpenNebulaError, UsageError } from '../../lib/report/errors.ts';
import { limits } from '../support/limits.ts';
import { answers, recorded, replay, type Answer, type Replay } from './replay.ts';

let running: Replay | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});
const serve = async (answer: Answer): Promise<Replay> => (running = await replay(answer));

const ok = (value: string): Answer =>
  answers({
    status: 200,
    body: `<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n<params>\r\n<param><value><array><data>\r\n<value><boolean>1</boolean></value>\r\n<value><string>${value}</string></value>\r\n<value><i4>0</i4></value>\r\n</data></array></value></param>\r\n</params>\r\n</methodResponse>\r\n`,
  });

/** The failure of a promise that must fail, as an OpenNebulaError. */
async function failure(promise: Promise<unknown>): Promise<OpenNebulaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OpenNebulaError);
  return error as OpenNebulaError;
}

/** The parameters of a posted call, as Python's own XML-RPC reads them. */
function readByPython(bodies: readonly string[]): unknown {
  const program =
    'import json, sys, xmlrpc.client\nprint(json.dumps([xmlrpc.client.loads(b.encode()) for b in json.load(sys.stdin)]))';
  return JSON.parse(
    execFileSync('python3', ['-c', program], {
      input: JSON.stringify(bodies),
      maxBuffer: 1 << 26,
    }).toString(),
  );
}

describe('recorded answers', () => {
  test('the client reads a text from a recorded answer of oned', async () => {
    const { client } = await serve(answers(recorded('version-one.system.version')));
    expect(await client().text('one.system.version')).toBe('6.10.5');
  });

  test('the client reads an id from a recorded answer of oned', async () => {
    const { client } = await serve(answers(recorded('lock-one.vm.lock')));
    expect(await client().id('one.vm.lock', 105, 4, false)).toBe(105);
  });

  test('the client reads a VM from a recorded answer of oned, whose XML comes out whole', async () => {
    const { client } = await serve(answers(recorded('vminfo-3param-one.vm.info')));
    const xml = await client().text('one.vm.info', 105, false);
    expect(xml).toMatch(/^<VM><ID>105<\/ID>.*<CPU><!\[CDATA\[0\.0]]><\/CPU>.*<\/VM>$/s);
  });

  test.each([
    ['notfound-one.vm.info', 1024, 'Error getting virtual machine [999].'],
    ['badsession-one.vm.info', 256, "User couldn't be authenticated, aborting call."],
    ['lock-test-one.vm.lock', 2048, '1795396920'],
    ['imgcreate-sysds-one.image.allocate', 16384, 'Error allocating a new image. New images'],
  ])(
    'the recorded answer %s is an error with the code and the text of oned',
    async (name, code, text) => {
      const { client } = await serve(answers(recorded(name)));
      const error = await failure(client().call('one.x.y'));
      expect(error.oneCode).toBe(code);
      expect(error.message).toContain(`OpenNebula refused one.x.y: ${text}`);
      expect(error.exitCode).toBe(6);
    },
  );

  test.each([
    ['unknown-one.nosuch.method', -506, "Method 'one.nosuch.method' not defined"],
    ['nosession-one.vm.info', -501, 'Not enough parameters'],
    ['malformed-x', -503, 'Call XML not a proper XML-RPC call.'],
  ])(
    'the recorded answer %s is an error with the code and the text of the fault',
    async (name, code, text) => {
      const { client } = await serve(answers(recorded(name)));
      const error = await failure(client().call('one.x.y'));
      expect(error.oneCode).toBe(code);
      expect(error.message).toContain(`OpenNebula could not take the call one.x.y (fault ${code})`);
      expect(error.message).toContain(text);
    },
  );

  test.each([
    ['otherpath-one.system.version', 'HTTP status 404; this is not the address of OpenNebula'],
    ['get-x', 'HTTP status 405; this is not the address of OpenNebula'],
  ])('the recorded answer %s is reported as a wrong address of OpenNebula', async (name, text) => {
    const { client, endpoint } = await serve(answers(recorded(name)));
    const error = await failure(client().call('one.x.y'));
    expect(error.message).toContain(`cannot call one.x.y at ${endpoint}: ${text}`);
    expect(error.oneCode).toBeUndefined();
  });
});

describe('what is sent', () => {
  test('a call to oned is read by another XML-RPC as it was meant, whatever the texts hold', async () => {
    const { client, bodies } = await serve(ok('x'));
    const texts = fc
      .sample(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 30 }),
          fc
            .array(
              fc.constantFrom(']]>', '<![CDATA[', '&amp;', '<', '>', '\r', '\n', ' ', '"', '😀'),
            )
            .map((parts) => parts.join('')),
        ),
        { numRuns: 100, seed: 11 },
      )
      .filter((text) => !/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text));
    expect(texts.length).toBeGreaterThan(50);
    for (const text of texts) await client().call('one.test', text, 7, true, -1, '');
    expect(readByPython(bodies)).toEqual(
      texts.map((text) => [['oneadmin:secret', text, 7, true, -1, ''], 'one.test']),
    );
  });

  test('a call to oned is a POST of UTF-8 on a connection of its own', async () => {
    const { client, requests } = await serve(ok('x'));
    await client().call('one.test', 'ü😀');
    expect(requests[0]?.method).toBe('POST');
    expect(requests[0]?.headers).toMatchObject({
      'content-type': 'text/xml; charset=utf-8',
      connection: 'close',
    });
  });

  test.each([
    ['a control character', 'a\u{1}b', 'argument 1 holds the character U+0001'],
    ['half a surrogate pair', 'a\u{dc00}', 'U+DC00'],
    ['NUL', '\0', 'U+0000'],
  ])('a call to oned cannot send %s', async (_, text, expected) => {
    const { client, bodies } = await serve(ok('x'));
    await expect(client().call('one.test', text)).rejects.toThrow(UsageError);
    await expect(client().call('one.test', text)).rejects.toThrow(expected);
    expect(bodies).toEqual([]);
  });

  test.each([1.5, 2 ** 31, NaN])(
    'a call to oned cannot send %d, which is no integer of XML-RPC',
    async (number) => {
      const { client } = await serve(ok('x'));
      await expect(client().call('one.test', number)).rejects.toThrow('is not a 32-bit integer');
    },
  );

  test('neither the password nor texts of calls to oned are logged', async () => {
    const { client, log, endpoint } = await serve(ok('x'));
    await client().call('one.test', 'PASSWORD=hidden', 7);
    expect(log).toEqual([`call one.test(<15 characters>, 7) at ${endpoint}`]);
  });
});

describe('what is received', () => {
  test.each([
    ['references', '&lt;a&gt; &amp;amp; &#x0d;&#10;', '<a> &amp; \r\n'],
    ['emoji and umlauts', 'ü€😀', 'ü€😀'],
    ['CDATA', '<![CDATA[<a> &lt;]]>', '<a> &lt;'],
    ['nothing', '', ''],
    ['blanks', '  \n ', '  \n '],
  ])('the client reads %s in an answer of oned', async (_, sent, expected) => {
    const { client } = await serve(ok(sent));
    expect(await client().text('one.test')).toBe(expected);
  });

  test('the client reads a text of some megabytes with many references', async () => {
    const { client } = await serve(ok('&lt;A&gt;ü'.repeat(300_000)));
    expect(await client().text('one.test')).toBe('<A>ü'.repeat(300_000));
  });

  test('the client reads an <i8> anywhere in an answer of oned', async () => {
    const body = recorded('notfound-one.vm.info').body.replace('<i8>-1<', '<i8>9999999999<');
    const { client } = await serve(answers({ status: 200, body }));
    expect((await failure(client().call('one.vm.info', 999))).oneCode).toBe(1024);
  });

  test.each([
    ['nothing at all', ''],
    ['a web page', '<html><head><title>Welcome</title></head></html>'],
    ['words', 'go away'],
    ['cut XML', '<?xml version="1.0"?><methodResponse><params><param><value><array><data>'],
    ['JSON', '[true, "6.10.5", 0]'],
    [
      'a value that is no array',
      '<methodResponse><params><param><value><string>x</string></value></param></params></methodResponse>',
    ],
    [
      'an array that is not oned’s',
      '<methodResponse><params><param><value><array><data><value><int>1</int></value></data></array></value></param></params></methodResponse>',
    ],
    ['a call', '<methodCall><methodName>x</methodName><params/></methodCall>'],
    ['an endless nest', '<methodResponse>'.repeat(10_000)],
  ])('the answer of oned is an error when it is %s', async (_, body) => {
    const { client } = await serve(answers({ status: 200, body }));
    const error = await failure(client().call('one.test'));
    expect(error.message).toMatch(/^the reply to one\.test is not (?:XML-RPC|one of OpenNebula)/);
    expect(error.oneCode).toBeUndefined();
  });

  test('an answer of oned with bytes that are not UTF-8 is an error, since they would be replaced silently', async () => {
    const { client } = await serve((response) => {
      response.end(Buffer.from(`<methodResponse>\u{e4}</methodResponse>`, 'latin1'));
    });
    expect((await failure(client().call('one.test'))).message).toBe(
      'the reply to one.test is not UTF-8',
    );
  });

  test.each([
    ['text', 'lock-one.vm.lock', 'is not the text it should be'],
    ['id', 'version-one.system.version', 'is not the id it should be'],
  ] as const)(
    'an answer of oned of another kind than %s is an error',
    async (kind, name, expected) => {
      const { client } = await serve(answers(recorded(name)));
      expect((await failure(client()[kind]('one.test'))).message).toContain(expected);
    },
  );

  test('an answer of oned beyond the limit of bytes is not read further', async () => {
    const { client } = await serve((response) => {
      response.write('<methodResponse>');
      const more = (): void => {
        if (!response.destroyed) response.write(' '.repeat(65536), () => setImmediate(more));
      };
      more();
    });
    const error = await failure(client({ maxReplyBytes: 1_000_000 }).call('one.test'));
    expect(error.message).toContain('the reply has more than 1000000 bytes');
  });
});

describe('when the server does not answer', () => {
  test('a call to oned whose connection is refused says so, whichever address of localhost was tried', async () => {
    const { client, close, endpoint } = await replay(ok('x'));
    await close();
    const error = await failure(client().call('one.test'));
    expect(error.message).toBe(
      `cannot call one.test at ${endpoint}: connection refused; is oned running there?`,
    );
    const named = endpoint.replace('127.0.0.1', 'localhost');
    expect((await failure(client({ endpoint: named }).call('one.test'))).message).toContain(
      'connection refused',
    );
  });

  test('a call to oned on a host that does not exist says so', async () => {
    const { client } = await serve(ok('x'));
    const endpoint = 'http://no-such-host.invalid:2633/RPC2';
    expect((await failure(client({ endpoint }).call('one.test'))).message).toMatch(
      /at http:\/\/no-such-host\.invalid:2633\/RPC2: (?:there is no host|the name of the host)/,
    );
  });

  test('a call to oned that gets no answer ends at the time limit', async () => {
    const { client } = await serve(() => undefined);
    const error = await failure(client({ timeoutMs: 200 }).call('one.test'));
    expect(error.message).toContain('no answer within 0.2 s');
  });

  test('a call to oned that gets only a part of an answer ends at the time limit, too', async () => {
    const { client } = await serve((response) => {
      response.write('<methodResponse>');
    });
    const error = await failure(client({ timeoutMs: 200 }).call('one.test'));
    expect(error.message).toContain('no answer within 0.2 s');
  });

  test('a call to oned whose connection breaks within the answer is an error', async () => {
    const { client } = await serve((response) => {
      response.writeHead(200, { 'Content-Length': 1000 });
      response.write('<methodResponse>', () => response.destroy());
    });
    const error = await failure(client().call('one.test'));
    expect(error.message).toContain('the connection was closed before the reply was complete');
  });

  test('a call to a server that does not speak HTTP is an error', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined).resume();
      socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { client } = await serve(ok('x'));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/RPC2`;
    const error = await failure(client({ endpoint }).call('one.test'));
    expect(error.message).toContain(`cannot call one.test at ${endpoint}: `);
    await new Promise((resolve) => server.close(resolve));
  });

  test('a call to oned that is answered by an HTTP error reports its status', async () => {
    const { client } = await serve(answers({ status: 503, body: 'busy' }));
    expect((await failure(client().call('one.test'))).message).toMatch(/: HTTP status 503$/);
  });

  test.each([
    'one.template.allocate',
    'one.image.allocate',
    'one.template.instantiate',
    'one.vm.lock',
  ])(
    'the call %s is not ended by a signal while it is under way: its answer says what was made',
    async (method) => {
      const controller = new AbortController();
      const { client, bodies, log } = await serve((response, body, nth) => {
        controller.abort(new InterruptedError('SIGINT'));
        setTimeout(() => answers(recorded('lock-one.vm.lock'))(response, body, nth), 100);
      });
      const one = client({ signal: controller.signal });
      expect(await one.id(method)).toBe(105);
      expect(log.join('\n')).toContain(`waiting for the answer to ${method}`);
      await expect(one.id(method)).rejects.toThrow(InterruptedError);
      expect(bodies).toHaveLength(1);
    },
  );

  test('a call of an interrupted run fails with what interrupted it', async () => {
    const controller = new AbortController();
    const { client } = await serve(() => {
      controller.abort(new InterruptedError('SIGINT'));
    });
    await expect(client({ signal: controller.signal }).call('one.vm.info')).rejects.toThrow(
      InterruptedError,
    );
    await expect(client({ signal: controller.signal }).call('one.vm.info')).rejects.toThrow(
      'interrupted by SIGINT',
    );
  });

  test('no message of the client holds the password', async () => {
    const { client } = await serve(answers({ status: 500, body: 'oneadmin:secret' }));
    expect(String((await failure(client().call('one.test', 'text'))).stack)).not.toContain(
      'secret',
    );
  });
});

test('the client speaks https; an unknown certificate is refused, one that the administrator trusts is not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-tls-'));
  const [key, cert, program] = ['key.pem', 'cert.pem', 'call.cjs'].map((name) =>
    join(folder, name),
  );
  const server = createServer((_, response) => {
    response.end(recorded('version-one.system.version').body);
  });
  try {
    const request =
      '-x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=one -addext subjectAltName=IP:127.0.0.1';
    execFileSync('openssl', ['req', ...request.split(' '), '-keyout', key!, '-out', cert!], {
      stdio: 'ignore',
    });
    server.setSecureContext({ key: readFileSync(key!), cert: readFileSync(cert!) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}/RPC2`;
    const { client } = await serve(ok('x'));
    expect((await failure(client({ endpoint }).call('one.test'))).message).toMatch(
      /self.signed certificate/,
    );

    // Node reads NODE_EXTRA_CA_CERTS when it starts.
    await build({
      stdin: {
        contents: `import { createOneClient } from './lib/one/client.ts';
          const log = { debug() {}, info() {}, warn() {}, error() {} };
          createOneClient({ endpoint: '${endpoint}', session: 'a:b', timeoutMs: ${limits.answerMs}, log })
            .text('one.system.version').then(console.log);`,
        resolveDir: join(import.meta.dirname, '../..'),
        loader: 'ts',
      },
      bundle: true,
      platform: 'node',
      format: 'cjs',
      outfile: program!,
    });
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: cert! };
    const { stdout } = await promisify(execFile)(process.execPath, [program!], { env });
    expect(stdout).toBe('6.10.5\n');
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
