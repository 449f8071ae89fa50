// What `--set` may change: the part of a run's recipe that its stream does not depend on.

import { Fault } from '#shards';
import { firstDifference, planHashOf, type Recipe, type RunMeta, resolvePlan, withSettings } from '#stream';

/** The run's recipe with `settings`. Fault `set-changes-stream` where one touches what the planHash covers. */
export function settingsOutsidePlan(meta: RunMeta, settings: readonly string[]): Recipe {
  const recipe = withSettings(meta.recipe, settings);
  const plan = resolvePlan(recipe, meta.plan.dataset);
  if (planHashOf(plan) === meta.planHash) return recipe;
  const differing = firstDifference(plan, meta.plan);
  throw new Fault({
    code: 'set-changes-stream',
    received: `--set ${settings.join(' ')}, which makes ${differing?.key} ${differing?.ours}`,
    expected: `${differing?.theirs}, as the stream was produced`,
    remedy: 'give such keys to stream produce under another --run',
    exit: 2,
  });
}
