/*
 * Runs before the package in the current folder is packed: builds the workspace where that is needed, and puts the
 * licence of the project into the package. Only pnpm writes real versions in place of `workspace:` ranges, so npm may
 * show what it would publish, and no more.
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { setUp } from './setup.mjs'
import { root } from './workspace.mjs'

const { npm_command: command, npm_config_dry_run: dryRun, npm_config_user_agent: agent = '' } = process.env
if (command === 'publish' && dryRun !== 'true' && !agent.startsWith('pnpm')) {
  throw new Error(`cannot publish '${process.cwd()}' with npm: use 'npm run release' in the folder of the workspace`)
}
setUp()
copyFileSync(join(root, 'LICENSE'), 'LICENSE')
