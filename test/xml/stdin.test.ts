import { describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { decodeVmInput, readStdin } from '../../lib/xml/stdin.ts';
import { UsageError } from '../../lib/report/errors.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
const xml = Buffer.from('<VM>\r\n <ID>8</ID> ü😀</VM>\n');

describe('decodeVmInput', () => {
  test('decoding the XML of a VM gives plain XML back byte for byte', () => {
    expect(decodeVmInput(xml)).toEqual(xml);
  });

  test('decoding the XML of a VM keeps a byte order mark and leading white space of XML', () => {
    const bytes = Buffer.from('\u{feff}\n <VM/>');
    expect(decodeVmInput(bytes)).toEqual(bytes);
  });

  test.each([
    ['one line without an end, as a hook gets it', xml.toString('base64')],
    ['a line with an end', `${xml.toString('base64')}\n`],
    ['lines as base64 wraps them', xml.toString('base64').replaceAll(/(.{10})/g, '$1\r\n')],
  ])('decoding the XML of a VM decodes base64: %s', (_, text) => {
    expect(decodeVmInput(Buffer.from(text))).toEqual(xml);
  });

  test('decoding the XML of a VM decodes what base64 (coreutils) writes', () => {
    const document = readFileSync(join(fixtures, 'vm/vm-running-qcow2-kvm.xml'));
    const wrapped = execFileSync('base64', { input: document });
    expect(wrapped.toString().split('\n').length).toBeGreaterThan(10);
    expect(decodeVmInput(wrapped).equals(document)).toBe(true);
  });

  test('decoding the XML of a VM decodes a recorded hook as base64 -d does', () => {
    const path = join(fixtures, 'hooks/state-running.stdin');
    expect(decodeVmInput(readFileSync(path)).equals(execFileSync('base64', ['-d', path]))).toBe(
      true,
    );
  });

  test.each([
    ['nothing', Buffer.alloc(0), 'the input is empty: expected'],
    ['blank lines', Buffer.from(' \n\n'), 'the input is empty: expected'],
    ['words', Buffer.from('no such VM'), 'neither XML nor base64 of XML'],
    [
      'base64 that was cut',
      Buffer.from(xml.toString('base64').slice(0, 21)),
      'neither XML nor base64',
    ],
    ['base64 of something else', Buffer.from('aGVsbG8gd29ybGQ='), 'neither XML nor base64 of XML'],
    ['UTF-16', Buffer.from('\u{feff}<VM/>', 'utf16le'), 'binary or UTF-16'],
    ['a gzip file', Buffer.from([0x1f, 0x8b, 8, 0, 0]), 'binary or UTF-16'],
  ])('decoding the XML of a VM refuses %s and says what was expected', (_, bytes, expected) => {
    expect(() => decodeVmInput(bytes)).toThrow(UsageError);
    expect(() => decodeVmInput(bytes)).toThrow(expected);
    expect(() => decodeVmInput(bytes)).toThrow("expected a VM's XML, plain or in base64");
  });
});

describe('readStdin', () => {
  test('reading stdin joins the pieces of a stream', async () => {
    const child = spawn('sh', ['-c', 'printf "<V"; sleep 0.1; printf "M/>"'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect((await readStdin(child.stdout)).toString()).toBe('<VM/>');
  });

  test('reading stdin refuses a terminal instead of waiting for it', async () => {
    const terminal = Object.assign(new Readable({ read: () => undefined }), { isTTY: true });
    await expect(readStdin(terminal)).rejects.toThrow('standard input is a terminal: expected');
  });

  test('reading stdin stops reading beyond its limit', async () => {
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(65536));
      },
    });
    await expect(readStdin(endless, 1_000_000)).rejects.toThrow('more than 1000000 bytes');
    expect(endless.destroyed).toBe(true);
  });

  test('reading stdin says why it cannot be read', async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error('EIO: i/o error, read'));
      },
    });
    await expect(readStdin(broken)).rejects.toThrow('cannot read standard input: EIO');
  });
});
