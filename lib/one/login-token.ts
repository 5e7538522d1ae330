// Makes a session as another user, as OpenNebula's own services do: with a token that the server user (serveradmin)
// encrypts with its password. Source: server_cipher_auth.rb, 6.4 to 7.4.
import { createCipheriv, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, UsageError } from '../report/errors.ts';

/** Enough for the time that oned waits for a driver. */
const validForSeconds = 600;

/**
 * Returns a session of `user`, made with the server user's credentials.
 * @throws UsageError when these cannot be read; no message contains them
 */
export async function sessionAs(
  user: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const location = env['ONE_LOCATION'];
  const file = join(location ? join(location, 'var') : '/var/lib/one', '.one/onegate_auth');
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trimEnd();
  } catch (error) {
    throw new UsageError(
      `cannot act as the user ${user}: cannot read OpenNebula's server credentials: ${errorMessage(error)}`,
      { cause: error },
    );
  }
  const [, server, password] = /^([^:\s]+):(.+)$/.exec(text) ?? [];
  if (server === undefined || password === undefined) {
    throw new UsageError(`${file} is not of the form user:password`);
  }
  return `${server}:${user}:${loginToken(server, password, user, validForSeconds)}`;
}

/** The token that oned's server_cipher driver decrypts and checks. */
export function loginToken(
  server: string,
  password: string,
  user: string,
  seconds: number,
  now = new Date(),
): string {
  const key = createHash('sha256').update(password).digest('hex').slice(0, 32);
  const cipher = createCipheriv('aes-256-cbc', key, key.slice(0, 16));
  const expires = Math.floor(now.getTime() / 1000) + seconds;
  const text = `${server}:${user}:${expires}`;
  return Buffer.concat([cipher.update(text), cipher.final()]).toString('base64');
}
