// virsh: the real one with libvirt's own test driver for what that has, and a fake on PATH for the rest.
import { describe, expect, test } from '@jest/globals';
import { localRunner } from '../../lib/run/local-runner.ts';
import {
  abortJob,
  activeJob,
  backupJobSocket,
  beginBackup,
  domainAt,
  domainState,
  dumpXml,
  resumeDomain,
  supportsBackup,
  suspendDomain,
  virshArgs,
  type Domain,
} from '../../lib/tools/virsh.ts';
import { attribute, childText } from '../../lib/xml/xml.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { quiet } from '../support/nbd-servers.ts';
import { failing, printing, withVirsh } from './fake-virsh.ts';

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
        'cannot ask for the jobs of the domain one-7: unexpected output of virsh: "nothing"',
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

  // A wrapper that says something on stdout, a broken libvirt: this is neither the user's fault nor an answer.
  test.each([
    ['dumpxml', dumpXml, 'look at the domain one-7'],
    ['backup-dumpxml', backupJobSocket, 'ask for the backup job of one-7'],
    ['list', domainState, 'find the domain one-7'],
    ['domjobinfo', activeJob, 'ask for the jobs of the domain one-7'],
    [
      'domcapabilities',
      async (domain: Domain) => await supportsBackup(domain, parseXml(Buffer.from('<a/>'), 'it')),
      'ask libvirt whether it can back up one-7',
    ],
  ] as const)('virsh %s that prints something else has failed', async (_, ask, doing) => {
    for (const text of ['garbage', 'é<', '<other/>']) {
      await withVirsh(printing(text), async (domain) => {
        await expect(ask(domain)).rejects.toMatchObject({
          exitCode: 4,
          code: 'command-failed',
          message: expect.stringContaining(`cannot ${doing}: unexpected output of virsh: `),
        });
      });
    }
  });

  test('a state that libvirt does not have is not taken for one', () =>
    withVirsh(`[ "$3" = list ] && echo one-7 || echo whatever`, async (domain) => {
      await expect(domainState(domain)).rejects.toThrow(
        'cannot find the domain one-7: unexpected output of virsh: "whatever"',
      );
    }));

  test('a domain without a backup job has no socket', () =>
    withVirsh(failing('error: Domain backup job id not found'), async (domain) => {
      expect(await backupJobSocket(domain)).toBeUndefined();
    }));
});
