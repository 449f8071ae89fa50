#!/usr/bin/env node
// The command `ops`: mounts the commands of its parts.

import { Command } from 'commander';
import { runProgram } from '#shards';
import { benchCommand } from './bench/cli.ts';
import { kafkaCommand } from './kafka/cli.ts';
import { quickstartCommand } from './quickstart/cli.ts';

const program = new Command('ops').description('What keeps a training run going on one machine.');
program.addCommand(kafkaCommand());
program.addCommand(quickstartCommand());
program.addCommand(benchCommand());

await runProgram(program);
