import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig, type Config } from '../../lib/config/config.ts';
import type { CoreConfig } from '../../lib/config/settings.ts';
import { UsageError } from '../../lib/report/errors.ts';
import { allSettings, loadConfig } from '../../lib/session/load-config.ts';
import { jobSettings, type JobSettings } from '../../lib/storage/job/settings.ts';
import { fileSettings, type FileSettings } from '../../lib/storage/file/settings.ts';
import { lvmSettings, type LvmSettings } from '../../lib/storage/lvm/settings.ts';

const shipped = readFileSync(join(import.meta.dirname, '../../etc/onevmdump.conf'), 'utf8');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onevmdump-config-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const write = (content: string, name = 'test.conf'): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const load = (content: string, env: Record<string, string> = {}): Promise<Config> =>
  loadConfig({ file: write(content), env });

/** All values, those of the storages by their modules. */
type Values = CoreConfig & {
  readonly file: FileSettings;
  readonly job: JobSettings;
  readonly lvm: LvmSettings;
};
const valuesIn = ({ valuesOf, ...core }: Config): Values => ({
  ...core,
  file: valuesOf(fileSettings),
  job: valuesOf(jobSettings),
  lvm: valuesOf(lvmSettings),
});

const defaults: Values = {
  destination: '/tmp',
  compress: 'gzip',
  delivery: 'auto',
  stagingDir: '/var/tmp/onevmdump',
  stateDir: '/var/lib/one/onevmdump',
  datastoreLocation: '/var/lib/one/datastores',
  cloudName: '',
  imageTimeout: 86400,
  xmlrpcTimeout: 240,
  fsFreeze: 'agent',
  snapshot: 'auto',
  libvirtUri: 'qemu:///system',
  file: { allowedBackingDirs: [] },
  job: { scratchPercent: 10, scratchMinMb: 1024 },
  lvm: { percent: 20, minMb: 1024 },
  hookVms: 'marked',
  hookDestination: '',
  hookKeepLast: 0,
  hookKeepLastMax: 30,
  hookMinAge: 0,
  hookAgentWait: 120,
  hookLock: true,
  remoteHost: '',
  remoteUser: '',
  destinationHost: '',
  destinationUser: '',
  sshCiphers: 'aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr',
};

describe('the shipped file', () => {
  test('the shipped configuration file is the table of settings, with every comment and default', () => {
    const [, ...blocks] = shipped.trimEnd().split('\n\n');
    const expected = allSettings.map(({ key, description, default: text, underOneLocation }) =>
      [
        ...description.map((line) => `# ${line}`),
        ...(underOneLocation === undefined
          ? []
          : [`# With ONE_LOCATION set: $ONE_LOCATION/${underOneLocation}`]),
        `#${key} = ${text}`.trimEnd(),
      ].join('\n'),
    );
    expect(blocks).toEqual(expected);
  });

  test('the shipped configuration file changes nothing as it is', async () => {
    expect(valuesIn(await load(shipped))).toEqual(defaults);
  });

  test('the shipped configuration file gives the defaults when every setting is uncommented', async () => {
    const uncommented = shipped.replaceAll(/^#([A-Z_]+ =)/gm, '$1');
    expect(parseConfig(allSettings, uncommented, 'it').size).toBe(allSettings.length);
    expect(valuesIn(await load(uncommented))).toEqual(defaults);
  });
});

describe('values', () => {
  test.each([
    ['bare', 'DESTINATION=/a', '/a'],
    ['with blanks around', '  DESTINATION  =  /a/b c  ', '/a/b c'],
    ['in double quotes', 'DESTINATION="/a #b"', '/a #b'],
    ['in single quotes', "DESTINATION = '/a\"b' # c", '/a"b'],
    ['before a comment', 'DESTINATION=/a # backups', '/a'],
    ['with DOS line ends', '# x\r\nDESTINATION=/a\r\n', '/a'],
  ])('the value of a setting is read %s', async (_, line, expected) => {
    expect((await load(line)).destination).toBe(expected);
  });

  test('the value of a setting of every type is read', async () => {
    const config = await load(
      'COMPRESS=zstd:19\nIMAGE_TIMEOUT=0\nXMLRPC_TIMEOUT=10\nALLOWED_BACKING_DIRS=/a:/b',
    );
    expect(valuesIn(config)).toEqual({
      ...defaults,
      compress: 'zstd:19',
      cloudName: '',
      imageTimeout: 0,
      xmlrpcTimeout: 10,
      file: { ...defaults.file, allowedBackingDirs: ['/a', '/b'] },
    });
  });
});

describe('refused, naming file and line', () => {
  test.each([
    ['an unknown setting', '\nCOMPRES = gzip', 'line 2: there is no setting COMPRES'],
    ['a line that sets nothing', 'DESTINATION /tmp', 'line 1: expected KEY = value'],
    ['an open quote', 'DESTINATION="/tmp', 'line 1: expected KEY = value'],
    ['text behind a quote', 'DESTINATION="/tmp" /x', 'line 1: expected KEY = value'],
    ['a shell command', 'export DESTINATION=/tmp', 'line 1: expected KEY = value'],
    ['a setting twice', 'DESTINATION=/a\n\nDESTINATION=/b', 'line 3: DESTINATION was set already'],
    ['a variable', 'DESTINATION=$HOME/b', 'line 1: variables are not expanded'],
    ['a relative path', 'STAGING_DIR=tmp', 'line 1: STAGING_DIR: "tmp" is not an absolute path'],
    ['an empty path', 'STAGING_DIR=', 'line 1: STAGING_DIR: "" is not an absolute path'],
    ['one relative path of several', 'ALLOWED_BACKING_DIRS=/a:b', '"b" is not an absolute path'],
    ['a wrong compression', 'COMPRESS=xz', 'line 1: COMPRESS: "xz" is no compression'],
    ['a wrong level', 'COMPRESS=gzip:10', 'line 1: COMPRESS: gzip has the levels 0 to 9, not 10'],
    ['no number', 'IMAGE_TIMEOUT=1h', 'line 1: IMAGE_TIMEOUT: "1h" is not a number of seconds'],
    ['no time at all', 'XMLRPC_TIMEOUT=0', 'from 1 to'],
    ['a time beyond timers', 'XMLRPC_TIMEOUT=9999999', 'from 1 to 2000000'],
  ])(
    'a configuration is refused with its file and line when it has %s',
    async (_, content, expected) => {
      await expect(load(content)).rejects.toThrow(UsageError);
      await expect(load(content)).rejects.toThrow(join(folder, 'test.conf'));
      await expect(load(content)).rejects.toThrow(expected);
    },
  );
});

describe('which file', () => {
  test('a configuration file that was asked for must exist', async () => {
    const file = join(folder, 'missing.conf');
    await expect(loadConfig({ file, env: {} })).rejects.toThrow(/cannot read .*missing\.conf/);
  });

  test('the configuration file that $ONEVMDUMP_CONFIG names must exist', async () => {
    const env = { ONEVMDUMP_CONFIG: join(folder, 'missing.conf') };
    await expect(loadConfig({ file: undefined, env })).rejects.toThrow('missing.conf');
  });

  test('the configuration file of --config is read instead of that of $ONEVMDUMP_CONFIG', async () => {
    const env = { ONEVMDUMP_CONFIG: write('DESTINATION=/env', 'env.conf') };
    const file = write('DESTINATION=/flag', 'flag.conf');
    expect((await loadConfig({ file, env })).destination).toBe('/flag');
    expect((await loadConfig({ file: undefined, env })).destination).toBe('/env');
  });

  test('the configuration file is looked for in $ONE_LOCATION, whose folders are the defaults then', async () => {
    mkdirSync(join(folder, 'etc'));
    write('DESTINATION=/self', 'etc/onevmdump.conf');
    const config = await loadConfig({ file: undefined, env: { ONE_LOCATION: folder } });
    expect(valuesIn(config)).toEqual({
      ...defaults,
      destination: '/self',
      stateDir: join(folder, 'var/onevmdump'),
      datastoreLocation: join(folder, 'var/datastores'),
    });
  });

  test('the default configuration file may be missing', async () => {
    const config = await loadConfig({ file: undefined, env: { ONE_LOCATION: folder } });
    expect(config.destination).toBe('/tmp');
  });

  test('a configuration file that cannot be read is an error, also where it might be missing', async () => {
    mkdirSync(join(folder, 'etc/onevmdump.conf'), { recursive: true });
    const loading = loadConfig({ file: undefined, env: { ONE_LOCATION: folder } });
    await expect(loading).rejects.toThrow('cannot read the configuration: EISDIR');
  });
});

describe('the environment', () => {
  test("a variable of the environment is used instead of the configuration file's setting", async () => {
    const env = { ONEVMDUMP_COMPRESS: 'none', ONEVMDUMP_DESTINATION: '' };
    const config = await load('COMPRESS=zstd\nDESTINATION=/a', env);
    expect([config.compress, config.destination]).toEqual(['none', '/a']);
  });

  test('a variable of the environment is named when its value is wrong', async () => {
    await expect(load('', { ONEVMDUMP_IMAGE_TIMEOUT: 'long' })).rejects.toThrow(
      'ONEVMDUMP_IMAGE_TIMEOUT: IMAGE_TIMEOUT: "long" is not a number of seconds',
    );
  });
});

test('a configuration file without an end is refused at once, and in little memory', async () => {
  const loading = loadConfig({ file: '/dev/zero', env: {} });
  await expect(loading).rejects.toThrow('/dev/zero has more than 1048576 bytes');
});
