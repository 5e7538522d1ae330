// The whole `restore`, from oned's request to the registered images and the template. oned waits 180
// seconds for the answer, so no data moves here: images are registered with the address of a disk in the
// bundle, and the image datastore fetches it by itself.
import { writeXml } from '../input/xml-write.ts';
import type { XmlElement } from '../input/xml.ts';
import { parseVm } from '../input/vm-xml.ts';
import type { OneClient } from '../one/client.ts';
import { allocateImage } from '../one/images.ts';
import { allocateTemplate } from '../one/templates.ts';
import { BundleError, FailedError, UnsupportedError } from '../report/errors.ts';
import { planDisks } from '../restore/image-plan.ts';
import { defaultName, freeName } from '../restore/names.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import { restoredTemplate, type RestoredDisk } from '../vm/restored-template.ts';
import { isCdrom, type Vm } from '../vm/vm.ts';
import { asId, idAt, isYesAt, requiredAt, valueAt } from './action-data.ts';
import { backupDatastore } from './backup-datastore.ts';
import { diskUrl } from './disk-url.ts';
import { openBackup } from './open-bundle.ts';

/** oned gives up after 180 s; what is registered later would belong to nobody. */
const limitMs = 170_000;

export interface RestoreMeans {
  /** The client of the user who asked. */
  readonly one: OneClient;
  /** For signing the addresses of disks. */
  readonly secret: string;
}

/**
 * @returns `TEMPLATE_ID IMAGE_ID ...`, as oned expects; -1 for the template when one disk was asked for
 * @throws an OnevmdumpError of any kind; what was registered is deleted again then
 */
export async function restoreBackup(
  data: XmlElement,
  { one, secret }: RestoreMeans,
  run: Run,
): Promise<string> {
  const started = new Date();
  const datastore = backupDatastore(data);
  const target = idAt(data, 'DESTINATION_DS_ID');
  refuseIncrement(data);
  const source = requiredAt(data, 'IMAGE/SOURCE');
  const bundle = await openBackup(datastore, source, run.runnerAt(datastore.host), run);
  try {
    const vm = parseVm(bundle.vmXml);
    if (bundle.manifest && bundle.manifest.vm.id !== vm.id) {
      throw new BundleError(`${bundle.name}: its manifest and its vm.xml are of different VMs`);
    }
    const onlyDisk = valueAt(data, 'TEMPLATE/DISK_ID');
    const only = onlyDisk === undefined ? undefined : [asId(onlyDisk, 'DISK_ID')];
    const name = await freeName(
      one,
      valueAt(data, 'TEMPLATE/NAME'),
      defaultName(vm.id, new Date(bundle.manifest?.created ?? bundle.modified)),
      bundle.disks.map(({ id }) => id),
    );
    const cdroms = only ? new Map<number, number>() : cdromImages(vm);
    const plans = planDisks(vm, bundle, { name, volatile: 'image', only, cdroms });

    const made: JournalEntry[] = [];
    const images: number[] = [];
    const disks: RestoredDisk[] = [];
    for (const plan of plans) {
      const { disk } = plan;
      if (plan.as === 'volatile') disks.push({ disk, as: 'volatile' });
      if (plan.as === 'reuse') disks.push({ disk, as: 'image', imageId: plan.imageId });
      if (plan.as !== 'register') continue;
      requireTime(started);
      const path = diskUrl(
        {
          datastoreId: datastore.id,
          bundle: source,
          diskId: disk.id,
          form: 'image',
        },
        secret,
      );
      made.push(
        await run.journal.record({
          kind: 'delete-image',
          endpoint: one.endpoint,
          name: plan.name,
          path,
          ofAnyone: true,
        }),
      );
      const imageId = await allocateImage(one, target, {
        name: plan.name,
        path,
        type: plan.type,
        persistent: plan.persistent,
        devPrefix: plan.devPrefix,
        description: plan.description,
        fromBackupDatastore: datastore.id,
        attributes: plan.attributes,
        checkCapacity: true,
      });
      images.push(imageId);
      disks.push({ disk, as: 'image', imageId });
    }
    requireTime(started);
    const templateId = only
      ? -1
      : await registerTemplate(vm, { name, disks, data, now: started }, one, run);
    for (const entry of made) await entry.done();
    return [templateId, ...images].join(' ');
  } finally {
    await bundle.close();
  }
}

function refuseIncrement(data: XmlElement): void {
  const increment = valueAt(data, 'TEMPLATE/INCREMENT_ID');
  if (increment === undefined || Number(increment) <= 0) return;
  throw new UnsupportedError(`the backup has no increment ${increment}: it is a full one`);
}

function requireTime(started: Date): void {
  if (Date.now() - started.getTime() < limitMs) return;
  throw new FailedError('the restore took too long: OpenNebula waits 180 seconds for it');
}

/** OpenNebula backs up no CD-ROMs: the restored VM uses the same images. */
function cdromImages(vm: Vm): Map<number, number> {
  const found = new Map<number, number>();
  for (const disk of vm.disks) {
    if (isCdrom(disk) && disk.imageId !== undefined) found.set(disk.id, disk.imageId);
  }
  return found;
}

interface TemplateRequest {
  readonly name: string;
  readonly disks: readonly RestoredDisk[];
  readonly data: XmlElement;
  readonly now: Date;
}

/** @returns the template's id */
async function registerTemplate(
  vm: Vm,
  { name, disks, data, now }: TemplateRequest,
  one: OneClient,
  run: Run,
): Promise<number> {
  const noNic = isYesAt(data, 'TEMPLATE/NO_NIC');
  const noIp = isYesAt(data, 'TEMPLATE/NO_IP');
  const nics = noNic ? 'none' : noIp ? 'new-addresses' : 'same-addresses';
  const template = restoredTemplate(vm, { name, nics, disks, now });
  for (const warning of template.warnings) run.log.warn(warning);
  return await allocateTemplate(one, writeXml(template.xml));
}
