import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findEndpoint, findSession } from '../../lib/one/credentials.ts';
import { UsageError } from '../../lib/report/errors.ts';

let folder: string;
let home: string;
let oneadmin: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onevmdump-auth-'));
  home = join(folder, 'home');
  oneadmin = join(folder, 'one/.one');
  mkdirSync(join(home, '.one'), { recursive: true });
  mkdirSync(oneadmin, { recursive: true });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the session', () => {
  test('the session for oned comes from $ONE_AUTH, then the home folder, then oneadmin’s', async () => {
    const named = join(folder, 'auth');
    writeFileSync(named, 'named:1\n');
    writeFileSync(join(home, '.one/one_auth'), 'home:2\n');
    writeFileSync(join(oneadmin, 'one_auth'), 'oneadmin:3\n');
    expect(await findSession({ ONE_AUTH: named, HOME: home }, oneadmin)).toBe('named:1');
    expect(await findSession({ ONE_AUTH: '', HOME: home }, oneadmin)).toBe('home:2');
    expect(await findSession({ HOME: join(folder, 'nobody') }, oneadmin)).toBe('oneadmin:3');
    expect(await findSession({}, oneadmin)).toBe('oneadmin:3');
  });

  test('the session for oned keeps colons and other signs of the password', async () => {
    writeFileSync(join(home, '.one/one_auth'), `bob:a:b c<&'"é\n`);
    expect(await findSession({ HOME: home }, oneadmin)).toBe(`bob:a:b c<&'"é`);
  });

  test('a session file that $ONE_AUTH names must exist', async () => {
    writeFileSync(join(home, '.one/one_auth'), 'home:2');
    const finding = findSession({ ONE_AUTH: join(folder, 'gone'), HOME: home }, oneadmin);
    await expect(finding).rejects.toThrow(/\$ONE_AUTH names .*gone, which does not exist/);
  });

  test('a missing session for oned says where it was looked for', async () => {
    const finding = findSession({ HOME: home }, oneadmin);
    await expect(finding).rejects.toThrow(UsageError);
    await expect(findSession({ HOME: home }, oneadmin)).rejects.toThrow(
      `there are no OpenNebula credentials: set $ONE_AUTH, or write user:password to ${home}/.one/one_auth or ${oneadmin}/one_auth`,
    );
  });

  test.each([
    ['empty', ' \n', /one_auth are empty$/],
    ['without a password', 'topsecret\n', /one_auth are not of the form user:password$/],
    ['without a user', ':topsecret\n', /one_auth are not of the form user:password$/],
  ])('a session of %s is refused without showing it', async (_, content, expected) => {
    writeFileSync(join(home, '.one/one_auth'), content);
    await expect(findSession({ HOME: home }, oneadmin)).rejects.toThrow(expected);
  });

  test('a session file that cannot be read is an error, and no reason to look further', async () => {
    mkdirSync(join(home, '.one/one_auth'));
    writeFileSync(join(oneadmin, 'one_auth'), 'oneadmin:3');
    await expect(findSession({ HOME: home }, oneadmin)).rejects.toThrow(
      'cannot read the OpenNebula credentials: EISDIR',
    );
  });
});

describe('the endpoint', () => {
  test('the endpoint of oned comes from the option, $ONE_XMLRPC, the home folder, oneadmin’s, or is the usual one', async () => {
    const env = { ONE_XMLRPC: 'https://env/RPC2', HOME: home };
    expect(await findEndpoint('http://option:1/RPC2', env, oneadmin)).toBe('http://option:1/RPC2');
    expect(await findEndpoint(undefined, env, oneadmin)).toBe('https://env/RPC2');
    expect(await findEndpoint(undefined, { HOME: home }, oneadmin)).toBe(
      'http://localhost:2633/RPC2',
    );
    writeFileSync(join(oneadmin, 'one_endpoint'), 'http://one:2633/RPC2\n');
    expect(await findEndpoint(undefined, { HOME: home }, oneadmin)).toBe('http://one:2633/RPC2');
    writeFileSync(join(home, '.one/one_endpoint'), 'http://home:2633/RPC2\n');
    expect(await findEndpoint(undefined, { HOME: home }, oneadmin)).toBe('http://home:2633/RPC2');
  });

  test.each(['localhost:2633', '', 'ftp://one/RPC2', '/RPC2', 'file:///etc/passwd'])(
    'the endpoint of oned %j is refused',
    async (endpoint) => {
      await expect(findEndpoint(endpoint, {}, oneadmin)).rejects.toThrow(
        '--endpoint: ' + JSON.stringify(endpoint) + ' is not the URL of an OpenNebula API',
      );
    },
  );

  test('a password in the endpoint of oned is refused without showing it', async () => {
    const finding = findEndpoint('http://bob:topsecret@one:2633/RPC2', {}, oneadmin);
    await expect(finding).rejects.toThrow(
      /^--endpoint: the endpoint must not hold a user or password$/,
    );
  });
});
