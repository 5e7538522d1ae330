// The template of a restored VM, for any name and any images.
import type { XmlElement } from '../xml/xml.ts';
import { type Account } from '../one/accounts.ts';
import type { OneClient } from '../one/client.ts';
import { imagesAt } from '../one/images.ts';
import type { Network } from '../one/networks.ts';
import { restrictedAttributes } from '../one/restricted-attributes.ts';
import { type DiskPlan } from './image-plan.ts';
import { pendingImageId } from './reserved-template.ts';
import type { Run } from '../run/run.ts';
import { fileSources } from '../vm/restored-context.ts';
import { restoredTemplate, type RestoredDisk } from '../vm/restored-template.ts';
import { type Vm } from '../vm/vm.ts';
import type { RestoreRequest } from './restore-request.ts';

/** The template under this name, with these images by disk id. */
export type TemplateOf = (name: string, images: ReadonlyMap<number, number>) => XmlElement;

/**
 * Returns a function that makes templates that differ only in their name and their images. Warnings about what is left out
 * are logged once, with the first template.
 * @throws OpenNebulaError
 */
export async function templateMaker(
  request: RestoreRequest,
  means: {
    readonly vm: Vm;
    readonly plans: readonly DiskPlan[];
    readonly networks: ReadonlyMap<number, Network>;
    /** Attributes that carry UEFI variables and the state of a vTPM. */
    readonly carried: readonly XmlElement[];
    readonly caller: Account;
    readonly one: OneClient;
    readonly run: Run;
  },
): Promise<TemplateOf> {
  const { vm, plans, networks, carried, caller, one, run } = means;
  const now = new Date();
  const options = {
    nics: request.nics,
    now,
    networks: new Map([...networks].map(([old, { id }]) => [old, id])),
    restricted: caller.isAdmin ? undefined : await restrictedAttributes(one),
    noHostAttributes: request.noHostAttributes,
    files: await imagesAt(one, fileSources(vm)),
  };
  let warned = false;
  return (name, images) => {
    const disks = plans.flatMap((plan): RestoredDisk[] => {
      const { disk } = plan;
      if (plan.as === 'absent') return [];
      if (plan.as === 'volatile') return [{ disk, as: 'volatile' }];
      const imageId =
        plan.as === 'reuse' ? plan.imageId : (images.get(disk.id) ?? pendingImageId(disk.id));
      return [{ disk, as: 'image', imageId }];
    });
    const { xml, warnings } = restoredTemplate(vm, { ...options, name, disks });
    if (!warned) for (const warning of warnings) run.log.warn(warning);
    warned = true;
    return { ...xml, children: [...xml.children, ...carried] };
  };
}
