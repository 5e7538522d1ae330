// XML that others write: of VMs, of the data of driver actions, of libvirt.
import { parseBackupRequest } from '../../../lib/backup/backup-request.ts';
import { decodeActionData, parseActionData, valueAt } from '../../../lib/datastore/action-data.ts';
import { domainFacts } from '../../../lib/guest/domain.ts';
import { readHookInput } from '../../../lib/hook/hook-input.ts';
import { activeJob, backupJobSocket, domainAt, domainState, qemuVersion, supportsBackup } from '../../../lib/tools/virsh.ts'; // prettier-ignore
import { carriedNvram } from '../../../lib/vm/carried-state.ts';
import { parseVm } from '../../../lib/vm/vm-xml.ts';
import type { Vm } from '../../../lib/vm/vm.ts';
import { decodeVmInput } from '../../../lib/xml/stdin.ts';
import { parseXml } from '../../../lib/xml/xml-parse.ts';
import { writeXml } from '../../../lib/xml/xml-write.ts';
import type { XmlElement } from '../../../lib/xml/xml.ts';
import { fileAt, filesIn } from '../folder.ts';
import { mutate, type Chance } from '../mutations.ts';
import { agreeOnXml } from '../python.ts';
import { inEachWay, inPieces, joined, parted, printing } from '../reading.ts';
import { must, type Target } from '../target.ts';
import { mutateText, mutateXml } from '../text-mutations.ts';

const vms = (): readonly Buffer[] => filesIn('fixtures/vm', /\.xml$/);
const libvirts = (): readonly Buffer[] => filesIn('lab', /domain[\w-]*\.xml$/);

/** Base64 of XML that was changed, or changed base64. */
function mutateBase64(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(3) === 0) return mutateText(seed, chance);
  const xml = mutateXml(Buffer.from(seed.toString('latin1'), 'base64'), chance);
  const text = xml.toString('base64');
  return Buffer.from(chance.below(4) === 0 ? text.replaceAll(/.{76}/g, '$&\n') : text);
}

export const xml: Target = {
  name: 'xml',
  seeds: () => [...vms(), ...libvirts()].filter((bytes) => bytes.length < 5000 && isXml(bytes)),
  mutate: mutateXml,
  refuses: ['UsageError'],
  read: (input) => {
    const found = parseXml(input, 'the text', { attributes: true });
    // What was read can be written and read again.
    const plain = parseXml(input, 'the text');
    const written = parseXml(Buffer.from(writeXml(plain)), 'what was written');
    must(JSON.stringify(written) === JSON.stringify(plain), 'XML that reads otherwise when written');
    return found;
  },
  judge: (accepted) => agreeOnXml(accepted.map(({ input, value }) => ({ input, value: value as XmlElement }))),
}; // prettier-ignore

function isXml(bytes: Buffer): boolean {
  try {
    parseXml(bytes, 'the text');
    return true;
  } catch {
    return false;
  }
}

export const vmXml: Target = {
  name: 'vm-xml',
  seeds: () => [...vms(), ...vms().slice(0, 3).map((bytes) => Buffer.from(bytes.toString('base64')))],
  mutate: (seed, chance) => (seed[0] === 0x3c ? mutateXml(seed, chance) : mutateBase64(seed, chance)),
  refuses: ['UsageError'],
  read(input) {
    const vm = parseVm(decodeVmInput(input));
    mustBePossible(vm);
    return vm;
  },
}; // prettier-ignore

function mustBePossible(vm: Vm): void {
  const numbers = [vm.id, vm.state, vm.lcmState, ...vm.disks.map(({ id }) => id)];
  must(
    numbers.every((one) => Number.isSafeInteger(one) && one >= 0),
    'a number of the VM',
  );
  must(new Set(vm.disks.map(({ id }) => id)).size === vm.disks.length, 'two disks with one id');
  const nvram = carriedNvram(vm);
  must(nvram === undefined || nvram.length <= 64 * 2 ** 20, 'its UEFI variables');
}

export const hookInput: Target = {
  name: 'hook-input',
  seeds: () => [...filesIn('fixtures/hooks', /\.stdin$/), ...filesIn('fixtures/hooks', /\.argv$/)],
  mutate: (seed, chance) => (chance.below(2) === 0 ? mutateText(seed, chance) : mutate(seed, chance)),
  refuses: ['UsageError'],
  async read(input) {
    const stdin = () => Object.assign(inPieces(input), { isTTY: false });
    const words = input.toString('latin1').split(/\0|\n/).slice(0, 50);
    return await inEachWay(
      () => readHookInput([], stdin()),
      () => readHookInput(words, stdin()),
    );
  },
}; // prettier-ignore

const calls = (pattern: RegExp): readonly Buffer[] => filesIn('fixtures/drivers/calls', pattern);

export const actionData: Target = {
  name: 'action-data',
  seeds: () => calls(/\.stdin$/).filter((bytes) => bytes.length > 0),
  mutate: (seed, chance) => (seed[0] === 0x3c ? mutateXml(seed, chance) : mutateBase64(seed, chance)),
  refuses: ['UsageError'],
  async read(input) {
    const [encoded, plain] = await inEachWay(
      () => decodeActionData([], input),
      () => parseActionData(input),
    );
    const data = (encoded ?? plain) as XmlElement;
    return ['DATASTORE/ID', 'IMAGE/PATH', 'DATASTORE/TEMPLATE/RSYNC_HOST'].map((path) => valueAt(data, path)); // prettier-ignore
  },
}; // prettier-ignore

/** `datastore/.../backup` gets six words, and the data with the VM on stdin. */
export const backupRequest: Target = {
  name: 'backup-request',
  seeds: () =>
    vms()
      .slice(-2)
      .map((vm) => {
        const [, id = '7'] = /<ID>(\d+)</.exec(vm.toString()) ?? [];
        const words = `host:/var/lib/one/datastores/0/${id} 0:1 one-${id} 3 ${id} 100`.split(' ');
        const datastore = fileAt('fixtures/xmlrpc/datastore-100.xml').toString();
        const data = `<DS_DRIVER_ACTION_DATA>${datastore}${vm.toString()}</DS_DRIVER_ACTION_DATA>`;
        return joined(...words, data.replace(/<\?xml[^>]*>/g, ''));
      }),
  mutate: mutateXml,
  refuses: ['UsageError', 'UnsupportedError'],
  read(input) {
    const words = parted(input);
    const request = parseBackupRequest(words.slice(0, -1), Buffer.from(words.at(-1) ?? ''));
    must(request.vm === undefined || request.vm.id === request.vmId, 'the XML of another VM');
  },
};

export const libvirtXml: Target = {
  name: 'libvirt',
  seeds() {
    const domains = libvirts().filter(isXml).map((one) => one.toString());
    return [...domains, libvirtDomain].map((domain) => joined(domain, ...libvirtAnswers));
  },
  mutate: mutateXml,
  refuses: ['CommandError', 'FailedError'],
  async read(input) {
    const [domainXml = '', capabilities = '', job = '', list = '', state = '', jobInfo = '', version = ''] = parted(input);
    const answers: Readonly<Record<string, string>> = {
      dumpxml: domainXml,
      domcapabilities: capabilities,
      'backup-dumpxml': job,
      list,
      domstate: state,
      domjobinfo: jobInfo,
      version,
    };
    const runner = printing(({ args }) => Buffer.from(answers[args[2] ?? ''] ?? ''));
    const domain = domainAt(runner, 'qemu:///system', 'one-7');
    const vm = { id: 7 } as Vm;
    return await inEachWay(
      async () => {
        const facts = await domainFacts(vm, domain);
        await supportsBackup(domain, facts.xml);
        return facts;
      },
      () => backupJobSocket(domain),
      () => domainState(domain),
      () => activeJob(domain),
      () => qemuVersion(domain),
    );
  },
}; // prettier-ignore

/** As libvirt 9 shows a domain, shortened. */
const libvirtDomain =
  "<domain type='kvm' id='3'><name>one-7</name><uuid>00000000-0000-4000-8000-000000000000</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/var/lib/one/datastores/0/7/VM7_VARS.fd</nvram></os><devices><emulator>/usr/bin/qemu-kvm</emulator><disk type='file' device='disk'><driver name='qemu' type='qcow2' error_policy='stop'/><source file='/var/lib/one/datastores/0/7/disk.0' index='1'/><target dev='vda' bus='virtio'/></disk><disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='one/one-3-7-1'><host name='10.0.0.1' port='6789'/></source><mirror/><target dev='vdb'/></disk></devices><seclabel type='dynamic' model='dac' relabel='yes'><label>+9869:+9869</label></seclabel><seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-0</label></seclabel></domain>";
const libvirtAnswers = [
  "<domainCapabilities><features><backup supported='yes'/></features></domainCapabilities>\n\n",
  "<domainbackup mode='pull' id='1'><server transport='unix' socket='/var/tmp/x.sock'/><disks><disk name='vda' backup='yes' type='file' exportname='vda'><driver type='qcow2'/><scratch file='/ds/0/7/x'/></disk></disks></domainbackup>\n\n",
  '00000000-0000-4000-8000-000000000000 one-7\n\n',
  'running\n\n',
  'Job type:         Unbounded   \nOperation:        Backup      \n',
  'Compiled against library: libvirt 9.0.0\nUsing API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\n\n',
];
