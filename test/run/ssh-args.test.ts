import { expect, test } from '@jest/globals';
import { coreSettings } from '../../lib/config/settings.ts';
import { masterArgs } from '../../lib/run/ssh-args.ts';
import { sh } from '../support/shell.ts';

/** What every OpenSSH from 7.4 on knows, in FIPS mode, too (`ssh -Q cipher` there). */
const knownEverywhere = [
  ...['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'],
  ...['aes128-ctr', 'aes192-ctr', 'aes256-ctr'],
];

const args = masterArgs({ host: 'kvm1' }, '/tmp/socket', coreSettings.sshCiphers.default);

test('the default ciphers are a plain list of what every OpenSSH from 7.4 on knows', () => {
  const [given] = args.filter((word) => word.startsWith('Ciphers='));
  expect(given?.slice('Ciphers='.length).split(',')).toEqual(knownEverywhere);
});

test('the ssh that is here takes the default options as they are meant', async () => {
  const before = args.slice(0, args.indexOf('--'));
  const config = await sh('ssh', '-F', 'none', '-G', ...before, 'kvm1');
  expect(config).toMatch(new RegExp(`^ciphers ${knownEverywhere.join(',')}$`, 'm'));
  expect(config).toMatch(/^batchmode yes$/m);
});

test('no ciphers are named where ssh is to choose them', () => {
  expect(masterArgs({ host: 'kvm1' }, '/tmp/socket', '').join(' ')).not.toContain('Ciphers');
});
