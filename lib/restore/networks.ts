// Which networks the NICs of a restored VM are in. An id alone says nothing in another OpenNebula, where it may be
// another tenant's network: it is kept when the network has the name that the bundle says, or mapped by the user.
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
 * The network of each NETWORK_ID of the VM.
 * @throws UsageError when one is not the same network here and not mapped, OpenNebulaError
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

/** NIC, NIC_ALIAS, and PCI of TYPE NIC. */
export function nicsOf(template: XmlElement): readonly XmlElement[] {
  return template.children.filter(
    (one) => one.name === 'NIC' || one.name === 'NIC_ALIAS' || isPciNic(one),
  );
}

/** NETWORK_ID of a NIC; undefined for one that still waits for its network. */
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
