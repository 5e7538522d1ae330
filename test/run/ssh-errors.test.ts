import { describe, expect, test } from '@jest/globals';
import { sshReason } from '../../lib/run/ssh-errors.ts';

const early = 'channel 4: open failed: connect failed: open failed\r\n';

describe('the reason why a connection ended', () => {
  test('the reason why an ssh connection ended is none of the sockets that were not there yet when they were tried', () => {
    expect(sshReason({ host: 'kvm1' }, early.repeat(3))).toBe('ssh ended without a message');
    const closed = `${early}Connection to 10.0.0.7 closed by remote host.\r\n${early}`;
    expect(sshReason({ host: 'kvm1' }, closed)).toBe(
      'Connection to 10.0.0.7 closed by remote host.',
    );
  });

  test.each([
    'Unable to negotiate with 10.0.0.7 port 22: no matching cipher found. Their offer: chacha20-poly1305@openssh.com\r\n',
    "command-line line 0: Bad SSH2 cipher spec '^aes128-gcm@openssh.com'.\r\n",
  ])(
    'the reason why an ssh connection ended names the setting when it is the ciphers: %s',
    (stderr) => {
      expect(sshReason({ host: 'kvm1' }, stderr)).toContain('SSH_CIPHERS = ""');
    },
  );

  test('the reason why an ssh connection ended is told in words that say what to do', () => {
    const stderr = 'oneadmin@kvm1: Permission denied (publickey,password).\r\n';
    expect(sshReason({ host: 'kvm1', user: 'oneadmin' }, stderr)).toMatch(
      /^it refuses the login; .*ssh -o BatchMode=yes oneadmin@kvm1 true$/,
    );
  });
});
