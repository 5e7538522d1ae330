// virsh: the real one with libvirt's own test driver for what that has, and a fake on PATH for the rest.
import { describe, expect, test } from '@jest/globals';
import { CommandError } from '../../lib/report/errors.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import {
  abortJob,
  activeJob,
  backupJobSocket,
  beginBackup,
  domainAt,
  domainState,
  dumpXml,
  fileSystemState,
  freezeFileSystems,
  FreezeRefusedError,
  resumeDomain,
  setAgentTimeout,
  supportsBackup,
  suspendDomain,
  thawFileSystems,
  ThawRefusedError,
  virshArgs,
  type Domain,
} from '../../lib/tools/virsh.ts';
import { attribute, childText } from '../../lib/xml/xml.ts';
import { quiet } from '../support/nbd-servers.ts';
import { withFakes } from './fake-on-path.ts';

/** The domain `one-7` of a virsh that does this; and the words of its calls, without `virsh --connect x:///`. */
async function withVirsh(
  lines: string,
  body: (domain: Domain, calls: () => Promise<readonly string[]>) => Promise<void>,
): Promise<void> {
  await withFakes({ virsh: lines }, async (fakes) => {
    await body(domainAt(fakes.runner, 'x:///', 'one-7'), async () =>
      (await fakes.calls()).map((words) => {
        expect(words.slice(0, 3)).toEqual(['virsh', '--connect', 'x:///']);
        return words.slice(3).join(' ');
      }),
    );
  });
}

const printing = (text: string) => `cat <<'END'\n${text}\nEND`;
const failing = (says: string) => `cat >&2 <<'END'\n${says}\nEND\nexit 1`;

test("virsh gets libvirt's address only where one is set", () => {
  expect(virshArgs('', 'list')).toEqual(['list']);
  expect(virshArgs('qemu:///system', 'list', '--all')).toEqual([
    ...['--connect', 'qemu:///system', 'list', '--all'],
  ]);
});

test.each(['', '--help', '-c', 'a b', '$(id)', 'a/b', "a'b", 'a\nb'])(
  '%j is not taken for the name of a domain',
  (name) => {
    expect(() => domainAt(localRunner(quiet), '', name)).toThrow(
      `${JSON.stringify(name)} is not the name of a libvirt domain`,
    );
  },
);

describe("libvirt's own test driver", () => {
  const domain = domainAt(localRunner(quiet), 'test:///default', 'test');
  const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';

  test('the XML of a domain is read with its attributes', async () => {
    const xml = await dumpXml(domain);
    expect({ type: attribute(xml, 'type'), name: childText(xml, 'name') }).toEqual({
      ...{ type: 'test', name: 'test' },
    });
  });

  test.each(['test', uuid, uuid.toUpperCase()])(
    'the state of the domain %s is known',
    async (name) => {
      expect(await domainState({ ...domain, name })).toBe('running');
    },
  );

  test('a domain that libvirt does not have is no error', async () => {
    expect(await domainState({ ...domain, name: 'one-8' })).toBeUndefined();
    // Nor is a part of a name another domain.
    expect(await domainState({ ...domain, name: 'tes' })).toBeUndefined();
  });

  test('the XML of a domain that libvirt does not have is an error', async () => {
    await expect(dumpXml({ ...domain, name: 'one-8' })).rejects.toThrow(
      "cannot look at the domain one-8: virsh: error: failed to get domain 'one-8'",
    );
  });

  test('a domain is paused; one that runs is not resumed', async () => {
    await suspendDomain(domain);
    await expect(resumeDomain(domain)).rejects.toThrow(
      /^cannot resume test: virsh: error: Failed to resume domain 'test'/,
    );
  });

  test('file systems are counted when they are frozen and thawed', async () => {
    expect(await freezeFileSystems(domain)).toBe(2);
    expect(await thawFileSystems(domain)).toBe(0);
  });

  test('what a driver of libvirt does not have is an error in its words', async () => {
    await expect(setAgentTimeout(domain, 5)).rejects.toThrow(
      'cannot limit the time of the guest agent of test: virsh: error: this function is not supported by the connection driver: virDomainAgentSetResponseTimeout',
    );
  });
});

describe('a libvirt domain', () => {
  test('the job of a domain is what libvirt calls its operation', async () => {
    const info = (text: string, expected: string | undefined) =>
      withVirsh(printing(text), async (domain, calls) => {
        expect(await activeJob(domain)).toBe(expected);
        expect(await calls()).toEqual(['domjobinfo one-7']);
      });
    await info('Job type:         None        \n', undefined);
    await info('Job type:         Unbounded   \nOperation:        Backup      \n', 'Backup');
    await info('Job type:         Bounded     \n', 'Bounded');
    await withVirsh('echo nothing', async (domain) => {
      await expect(activeJob(domain)).rejects.toThrow(
        'cannot ask for the jobs of the domain one-7: virsh printed nothing',
      );
    });
  });

  test('whether a libvirt has backup jobs is asked for this kind of domain', async () => {
    const xml = `<domain type='kvm'><os><type arch='x86_64' machine='q35'>hvm</type></os><devices><emulator>/usr/bin/kvm</emulator></devices></domain>`;
    const asked = (answer: string, expected: boolean) =>
      withVirsh(
        `case $3 in dumpxml) ${printing(xml)}\n;; *) ${printing(answer)}\n;; esac`,
        async (domain, calls) => {
          expect(await supportsBackup(domain, await dumpXml(domain))).toBe(expected);
          expect((await calls())[1]).toBe(
            'domcapabilities --virttype kvm --emulatorbin /usr/bin/kvm --arch x86_64 --machine q35',
          );
        },
      );
    const answer = (supported: string) =>
      `<domainCapabilities><features><backup supported='${supported}'/></features></domainCapabilities>`;
    await asked(answer('yes'), true);
    await asked(answer('no'), false);
    await asked('<domainCapabilities/>', false);
  });

  test("the guest agent's time is limited, and no longer limited", () =>
    withVirsh('', async (domain, calls) => {
      await setAgentTimeout(domain, 5);
      await setAgentTimeout(domain);
      expect(await calls()).toEqual([
        'guest-agent-timeout one-7 --timeout 5',
        'guest-agent-timeout one-7 --timeout -2',
      ]);
    }));

  test('a backup job is begun from a file, with scratch files that are there; it is found by its socket, and ended', () =>
    withVirsh(
      `[ "$3" != backup-dumpxml ] || ${printing("<domainbackup mode='pull'><server transport='unix' socket='/a b/s'/></domainbackup>")}`,
      async (domain, calls) => {
        await beginBackup(domain, '/a b/order.xml');
        expect(await backupJobSocket(domain)).toBe('/a b/s');
        await abortJob(domain);
        expect(await calls()).toEqual([
          'backup-begin one-7 --reuse-external --backupxml /a b/order.xml',
          'backup-dumpxml one-7',
          'domjobabort one-7',
        ]);
      },
    ));

  test('a domain without a backup job has no socket', () =>
    withVirsh(failing('error: Domain backup job id not found'), async (domain) => {
      expect(await backupJobSocket(domain)).toBeUndefined();
    }));
});

describe("a guest's file systems", () => {
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
      failing(`error: Unable to freeze filesystems\nerror: internal error: ${says}`),
      async (domain) => {
        await expect(freezeFileSystems(domain)).rejects.toThrow(FreezeRefusedError);
      },
    ),
  );

  test('after any other failure of a freeze, the file systems may be frozen', () =>
    withVirsh(
      failing('error: Unable to freeze filesystems\nerror: Guest agent is not responding'),
      async (domain, calls) => {
        const error: unknown = await freezeFileSystems(domain).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(CommandError);
        expect(error).not.toBeInstanceOf(FreezeRefusedError);
        expect(await calls()).toEqual(['domfsfreeze one-7']);
      },
    ));

  test('a guest that has ended its freeze by itself is told from one that cannot be reached', async () => {
    await withVirsh(
      failing(
        "error: Unable to thaw filesystems\nerror: internal error: unable to execute QEMU agent command 'guest-fsfreeze-thaw': couldn't hold writes: fsfreeze is limited up to 10 seconds",
      ),
      async (domain) => {
        await expect(thawFileSystems(domain)).rejects.toThrow(ThawRefusedError);
      },
    );
    await withVirsh(failing('error: Guest agent is not responding'), async (domain) => {
      await expect(thawFileSystems(domain)).rejects.toThrow(CommandError);
    });
    await withVirsh(printing('Thawed'), async (domain) => {
      expect(await thawFileSystems(domain)).toBeUndefined();
    });
  });
});
