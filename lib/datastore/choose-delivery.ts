// Chooses how the command delivers disks: by addresses where OpenNebula can fetch them, else by staged files.
import type { DeliveryWay } from '../config/delivery-way.ts';
import { UnsupportedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Delivery } from '../restore/delivery.ts';

export interface DeliveryWays {
  readonly staged: Delivery;
  readonly address: Delivery;
}

/** The delivery that `way` asks for. `auto` decides when it is prepared, before anything is changed in OpenNebula. */
export function chosenDelivery(way: DeliveryWay, ways: DeliveryWays, log: Log): Delivery {
  if (way !== 'auto') return ways[way];
  let chosen = ways.staged;
  return {
    waitsForImages: true,
    check: () => chosen.check(),
    async prepare(images) {
      try {
        await ways.address.prepare(images);
        chosen = ways.address;
        log.debug('disks are fetched from the bundle by OpenNebula, nothing is staged');
      } catch (error) {
        if (!(error instanceof UnsupportedError)) throw error;
        log.debug(`disks are staged, OpenNebula cannot fetch them: ${error.message}`);
        await ways.staged.prepare(images);
      }
    },
    hasRoomFor: (plan, signal) => chosen.hasRoomFor(plan, signal),
    deliver: (plan, signal) => chosen.deliver(plan, signal),
    drop: (delivered) => chosen.drop(delivered),
    explained: (error) => chosen.explained(error),
    close: () => chosen.close(),
  };
}
