// The agent's commands that freeze and thaw: what virsh is told, and how its answers are read. They are as libvirt 9.0 and
// the agent of QEMU 7.2 give them.
import { describe, expect, test } from '@jest/globals';
import { CommandError } from '../../lib/report/errors.ts';
import {
  fileSystemState,
  freezeFileSystems,
  FreezeRefusedError,
  thawFileSystems,
  ThawRefusedError,
} from '../../lib/tools/fsfreeze.ts';
import { failing, printing, withVirsh } from './fake-virsh.ts';

describe("a guest's file systems", () => {
  // With `virsh guest-agent-timeout` an administrator limits the time of `virsh domfsfreeze`, and nobody can read it.
  test('file systems are counted when they are frozen and thawed, with time limits that are ours alone', () =>
    withVirsh(printing('{"return":2}'), async (domain, calls) => {
      expect(await freezeFileSystems(domain)).toBe(2);
      expect(await thawFileSystems(domain)).toBe(2);
      expect(await calls()).toEqual([
        'qemu-agent-command --timeout 20 one-7 {"execute":"guest-fsfreeze-freeze"}',
        'qemu-agent-command --timeout 20 one-7 {"execute":"guest-fsfreeze-thaw"}',
      ]);
    }));

  test('the agent is asked whether the file systems are frozen, and is waited for 5 seconds', () =>
    withVirsh(printing('{"return":"thawed"}'), async (domain, calls) => {
      expect(await fileSystemState(domain)).toBe('thawed');
      expect(await calls()).toEqual([
        'qemu-agent-command --timeout 5 one-7 {"execute":"guest-fsfreeze-status"}',
      ]);
    }));

  test('file systems that are frozen are told from an answer that says nothing', async () => {
    await withVirsh(printing('{"return": "frozen"}'), async (domain) => {
      expect(await fileSystemState(domain)).toBe('frozen');
    });
    await withVirsh(printing('{"return":{}}'), async (domain) => {
      await expect(fileSystemState(domain)).rejects.toThrow(
        'the guest agent does not answer: it answered {"return":{}}',
      );
    });
  });

  test.each(['', 'thawed', '[{"return":"thawed"}]', '{"error":{"return":"thawed"}}', '{"return":"thawed"'])(
    'the answer %j of the guest agent says nothing of its file systems',
    (answer) =>
      withVirsh(printing(answer), async (domain) => {
        await expect(fileSystemState(domain)).rejects.toThrow(
          `the guest agent does not answer: it answered ${answer}`,
        );
      }),
  ); // prettier-ignore

  test('an agent that is not connected is an error on one line', () =>
    withVirsh(
      failing('error: Guest agent is not responding: QEMU guest agent is not connected\nerror: so'),
      async (domain) => {
        await expect(fileSystemState(domain)).rejects.toThrow(
          'the guest agent does not answer: Guest agent is not responding: QEMU guest agent is not connected; so',
        );
      },
    ));

  test.each([
    'Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state',
    'The command guest-fsfreeze-freeze has been disabled for this instance',
  ])('an agent that says %j has frozen nothing', (says) =>
    withVirsh(
      failing(
        `error: internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': ${says}`,
      ),
      async (domain) => {
        await expect(freezeFileSystems(domain)).rejects.toThrow(FreezeRefusedError);
      },
    ),
  );

  test('after any other failure of a freeze, the file systems may be frozen', () =>
    withVirsh(
      failing('error: Guest agent is not responding: Guest agent not available for now'),
      async (domain, calls) => {
        const error: unknown = await freezeFileSystems(domain).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(CommandError);
        expect(error).not.toBeInstanceOf(FreezeRefusedError);
        expect(await calls()).toHaveLength(1);
      },
    ));

  test('a guest that has ended its freeze by itself is told from one that cannot be reached', async () => {
    await withVirsh(
      failing(
        "error: internal error: unable to execute QEMU agent command 'guest-fsfreeze-thaw': couldn't hold writes: fsfreeze is limited up to 10 seconds",
      ),
      async (domain) => {
        await expect(thawFileSystems(domain)).rejects.toThrow(ThawRefusedError);
      },
    );
    await withVirsh(failing('error: Guest agent is not responding'), async (domain) => {
      await expect(thawFileSystems(domain)).rejects.toThrow(CommandError);
    });
  });

  test('an agent that does not say how many file systems it has frozen or thawed has not confirmed it', () =>
    withVirsh(printing('{"return":{}}'), async (domain) => {
      await expect(freezeFileSystems(domain)).rejects.toThrow(
        'cannot freeze the file systems of one-7: it answered {"return":{}}',
      );
      await expect(thawFileSystems(domain)).rejects.toThrow(
        'cannot thaw the file systems of one-7: it answered {"return":{}}',
      );
    }));
});
