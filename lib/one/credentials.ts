// Finds oned's endpoint and the credentials for it as OpenNebula's own tools do
// (src/oca/ruby/opennebula/client.rb, 6.4 to 7.4). No message ever contains the password.
import { join } from 'node:path';
import { errorMessage, hasCode, UsageError } from '../report/errors.ts';
import { readSmallFile } from '../config/small-file.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The folder with oneadmin's credentials on a front-end. */
const oneadminFolder = '/var/lib/one/.one';
const defaultEndpoint = 'http://localhost:2633/RPC2';

/**
 * Returns `user:password` from the file named by $ONE_AUTH, or else ~/.one/one_auth, or else oneadmin's file.
 * @param folder replaces oneadmin's folder, for tests
 * @throws UsageError when there is no such file, or it cannot be read or does not have this form
 */
export async function findSession(env: Environment, folder = oneadminFolder): Promise<string> {
  const named = env['ONE_AUTH'];
  const files = named ? [named] : candidates(env, folder, 'one_auth');
  for (const file of files) {
    const content = await readIfThere(file, 'OpenNebula credentials');
    if (content === undefined) continue;
    const session = content.trim();
    if (session === '') throw new UsageError(`the OpenNebula credentials ${file} are empty`);
    if (!/^[^:]+:.+$/s.test(session)) {
      throw new UsageError(`the OpenNebula credentials ${file} are not of the form user:password`);
    }
    return session;
  }
  throw new UsageError(
    named
      ? `there are no OpenNebula credentials: $ONE_AUTH names ${named}, which does not exist`
      : `there are no OpenNebula credentials: set $ONE_AUTH, or write user:password to ${files.join(' or ')}`,
    { code: 'no-credentials' },
  );
}

/**
 * Returns the URL of oned's XML-RPC: `given` (--endpoint), or else $ONE_XMLRPC, ~/.one/one_endpoint, oneadmin's file,
 * or http://localhost:2633/RPC2.
 * @throws UsageError when it is not an http or https URL
 */
export async function findEndpoint(
  given: string | undefined,
  env: Environment,
  folder = oneadminFolder,
): Promise<string> {
  if (given !== undefined) return checkEndpoint(given, '--endpoint');
  const variable = env['ONE_XMLRPC'];
  if (variable) return checkEndpoint(variable, '$ONE_XMLRPC');
  for (const file of candidates(env, folder, 'one_endpoint')) {
    const content = await readIfThere(file, 'OpenNebula endpoint');
    if (content !== undefined) return checkEndpoint(content, file);
  }
  return defaultEndpoint;
}

function candidates(env: Environment, folder: string, name: string): string[] {
  const home = env['HOME'];
  return [...new Set([...(home ? [join(home, '.one', name)] : []), join(folder, name)])];
}

async function readIfThere(file: string, what: string): Promise<string | undefined> {
  try {
    return await readSmallFile(file);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined;
    throw new UsageError(`cannot read the ${what}: ${errorMessage(error)}`, { cause: error });
  }
}

function checkEndpoint(text: string, from: string): string {
  const endpoint = text.trim();
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new UsageError(
      `${from}: ${JSON.stringify(endpoint)} is not the URL of an OpenNebula API, such as ${defaultEndpoint}`,
    );
  }
  // Endpoints are shown in messages and kept in the journal.
  if (url.username !== '' || url.password !== '') {
    throw new UsageError(`${from}: the endpoint must not hold a user or password`);
  }
  return endpoint;
}
