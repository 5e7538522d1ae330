// Chooses the networks of a restored VM's NICs. In another OpenNebula the same id may be another tenant's network, so a
// network is kept only when both its id and its name are those in the bundle; otherwise the user has to map it.
import { childText, type XmlElement } from '../xml/xml.ts';
import { isPciNic } from '../vm/restored-nics.ts';
import type { OneClient } from '../one/client.ts';
import { findNetwork, getNetwork, type Network } from '../one/networks.ts';
import { UsageError } from '../report/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { matchMappings, nameOf, type Mapping, type OldObject } from './mapping.ts';
import { isRefusal } from '../one/answers.ts';

const words = { option: '--map-network', what: 'network' };

/**
 * The network here for each NETWORK_ID of the VM.
 * @throws UsageError for a network that is neither the same here nor mapped, OpenNebulaError
 */
export async function chooseNetworks(
  vm: Vm,
  mappings: readonly Mapping[],
  one: OneClient,
): Promise<Map<number, Network>> {
  const old = networksOf(vm);
  const matched = matchMappings(mappings, old, words);
  const chosen = new Map<number, Network>();
  for (const network of old) {
    const mapping = matched.get(network.id);
    const here = mapping ? await findNetwork(one, mapping.to) : await sameNetwork(network, one);
    chosen.set(network.id, here);
  }
  return chosen;
}

/** The NIC, NIC_ALIAS and PCI (TYPE NIC) elements of a template. */
export function nicsOf(template: XmlElement): readonly XmlElement[] {
  return template.children.filter(
    (element) => element.name === 'NIC' || element.name === 'NIC_ALIAS' || isPciNic(element),
  );
}

/** NETWORK_ID of a NIC; undefined for a NIC that has no network yet. */
export function networkIdOf(nic: XmlElement): number | undefined {
  const text = childText(nic, 'NETWORK_ID') ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function networksOf(vm: Vm): OldObject[] {
  const found = new Map<number, OldObject>();
  for (const nic of nicsOf(vm.template)) {
    const id = networkIdOf(nic);
    if (id !== undefined) found.set(id, { id, name: childText(nic, 'NETWORK') || undefined });
  }
  return [...found.values()];
}

async function sameNetwork(old: OldObject, one: OneClient): Promise<Network> {
  const advice = `restore it without NICs, or by onevmdump restore with --map-network ${old.id}=<id or name>`;
  let here: Network;
  try {
    here = await getNetwork(one, old.id);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new UsageError(
      `the VM was in network ${nameOf(old)}, which cannot be used here (${error.message}): ${advice}`,
      { cause: error },
    );
  }
  if (here.name === old.name) return here;
  throw new UsageError(
    `the VM was in network ${nameOf(old)}, but network ${old.id} is ${here.name} here: ${advice}`,
  );
}
