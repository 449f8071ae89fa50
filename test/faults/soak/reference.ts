// What each lane and step of a plan must be, rendered anew without any log.

import { readManifest } from '../../../shards/index.ts';
import { openBuckets } from '../../../stream/buckets.ts';
import { type Plan, planHashOf, resolvePlan } from '../../../stream/plan.ts';
import { RenderPool } from '../../../stream/pool.ts';
import type { Recipe } from '../../../stream/recipe.ts';
import { readRecord } from '../../../stream/record.ts';
import { type TaskSource, taskSource } from '../../../stream/tasks.ts';
import { contentOf } from '../undisturbed.ts';

export class Reference {
  readonly plan: Plan;
  readonly #tasks: TaskSource;
  readonly #pool: RenderPool;

  private constructor(plan: Plan, tasks: TaskSource, pool: RenderPool) {
    this.plan = plan;
    this.#tasks = tasks;
    this.#pool = pool;
  }

  static async open(shards: string, recipe: Recipe): Promise<Reference> {
    const manifest = await readManifest(shards);
    const { sha256, counts } = manifest.dataset;
    const plan = resolvePlan(recipe, { sha256, counts });
    const buckets = await openBuckets(shards, manifest, plan);
    return new Reference(plan, taskSource(plan, planHashOf(plan), buckets), await RenderPool.open(shards, 1));
  }

  /** As `contentOf` of the lane's step. */
  async content(step: number, lane: number): Promise<string> {
    const rendered = await Promise.all(this.#tasks.train(step, lane).map((task) => this.#pool.render(task)));
    const content = contentOf({ chunks: rendered.map(({ bytes }) => readRecord(bytes, 'the reference').tensors) });
    for (const chunk of rendered) chunk.release();
    return content;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
