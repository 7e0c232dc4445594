/** Commands that add, remove and change nodes. */
import { BlockError, isBlockError, type Node, Permission } from '@diskgraph/core'
import { storageNodes } from '@diskgraph/jobs'
import type { DriverOptions, TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import { graphOptions } from './definitions.ts'
import { addDevice } from './devices.ts'
import type { Handlers } from './handlers.ts'
import { type ReopenChanges, reopenChanges } from './reopen.ts'

/** `blockdev-add`, `-del`, `-reopen`, `x-blockdev-change`, `block_resize`, `change-backing-file`. */
export function nodeCommands(system: System): Handlers {
  const { graph } = system
  return {
    'blockdev-add': async (options) => {
      if (options['node-name'] === undefined && options.id === undefined) {
        throw new BlockError('EINVAL', "'node-name' must be specified for the root node")
      }
      const wanted = await graphOptions(graph, options)
      const node = await graph.addNode(wanted).catch((error) => Promise.reject(ownError(error)))
      if (options.id !== undefined) await addDevice(system, node, options as TypeOf<'BlockdevOptionsBase'>)
    },
    'blockdev-del': async ({ 'node-name': name }) => {
      const node = namedNode(system, name)
      if (!node.explicit) throw new BlockError('EPERM', `Node ${name} is not owned by the monitor`)
      system.refuseBacking(node)
      if (node.parents.size > 0) {
        const isShown = [...node.parents].some(({ parent }) => parent.isRoot)
        const blocker = [...node.blockers].find(({ operations }) => operations?.includes('remove') !== false)
        if (!isShown && blocker !== undefined) {
          throw new BlockError('EBUSY', `Node '${name}' is busy: ${blocker.reason}`)
        }
        throw new BlockError('EBUSY', `${isShown ? 'Node' : 'Block device'} ${name} is in use`)
      }
      await graph.remove(node)
    },
    'blockdev-reopen': ({ options }) => reopen(system, options),
    'x-blockdev-change': ({ parent, child, node }) => changeChild(system, parent, child, node),
    block_resize: ({ device, 'node-name': nodeName, size }) => resize(system.find(device, nodeName), system, size),
    'change-backing-file': ({ device, 'image-node-name': image, 'backing-file': backing }) =>
      changeBackingFile(system, device, image, backing),
  }
}

/** The error itself, without the name of what was to be opened: a client knows what it sent. */
function ownError(error: unknown): unknown {
  if (!isBlockError(error) || !isBlockError(error.cause)) return error
  return error.message.endsWith(`': ${error.cause.message}`) ? error.cause : error
}

/** The node of that name, where a device is not meant. */
function namedNode(system: System, name: string): Node {
  const node = system.graph.find(name)
  if (node !== undefined) return node
  throw new BlockError('ENODEV', `Failed to find node with node-name='${name}'`)
}

async function resize(node: Node, system: System, size: number): Promise<void> {
  const { graph } = system
  if (size < 0) throw new BlockError('EINVAL', "Parameter 'size' expects a >0 size")
  system.refuseBacking(node)
  // Users who let nobody else write may let others resize.
  await using disk = await graph.attach(node, { permissions: Permission.Resize })
  await disk.truncate(size)
}

/** Several nodes at once: all of them are reopened, or none. */
async function reopen(system: System, list: readonly DriverOptions[]): Promise<void> {
  const { graph } = system
  const changes: ReopenChanges[] = []
  for (const options of list) {
    const name = options['node-name']
    if (typeof name !== 'string') throw new BlockError('EINVAL', 'node-name not specified')
    const node = namedNode(system, name)
    changes.push(...reopenChanges(node, await graphOptions(graph, options)))
  }
  await graph.change(async (change) => {
    for (const { node, options, children } of changes) {
      for (const [child, value] of children) await change.setChild(node, child, value)
      await change.reopen(node, options)
    }
  })
}

async function changeChild(
  { graph }: System,
  parentName: string,
  childName: string | undefined,
  nodeName: string | undefined,
): Promise<void> {
  const parent = graph.find(parentName)
  if (parent === undefined) {
    throw new BlockError('ENODEV', `Cannot find device='${parentName}' nor node-name='${parentName}'`)
  }
  if ((childName === undefined) === (nodeName === undefined)) {
    const both =
      childName === undefined
        ? 'Either child or node must be specified'
        : 'The parameters child and node are in conflict'
    throw new BlockError('EINVAL', both)
  }
  if (childName !== undefined) {
    if (!parent.children.has(childName)) {
      throw new BlockError('EINVAL', `Node '${parentName}' does not have child '${childName}'`)
    }
    await graph.setChild(parent, childName, undefined)
    return
  }
  const node = graph.find(nodeName as string)
  if (node === undefined) throw new BlockError('ENODEV', `Node '${nodeName}' not found`)
  const list = Object.entries(parent.driver.options).find(([, schema]) => schema.type === 'children')?.[0]
  if (list === undefined) {
    throw new BlockError('ENOTSUP', `The node ${parentName} does not support adding a child`)
  }
  await graph.addChild(parent, list, node)
}

/** Changes the reference that is written in an image, not what stands behind it in the graph. */
async function changeBackingFile(system: System, device: string, image: string, backing: string): Promise<void> {
  const top = system.findRoot(device)
  const node = system.graph.find(image)
  if (node === undefined) throw new BlockError('ENODEV', `Cannot find device='' nor node-name='${image}'`)
  if (node.backing === undefined) {
    throw new BlockError('EINVAL', 'not allowing backing file change on an image without a backing file')
  }
  if (!isInChain(top, node)) throw new BlockError('EINVAL', `'${device}' and image file are not in the same chain`)
  const format = node.backing.node.driver.name
  await system.graph.change(async (change) => {
    const reopened = node.readOnly ? storageNodes(node).filter((one) => one.readOnly) : []
    await change.drain(node)
    for (const one of reopened) await change.reopen(one, { readOnly: false })
    await change.commit()
    try {
      if (node.image.changeBacking === undefined) {
        throw new BlockError('ENOTSUP', `driver '${node.driver.name}' stores no name of a backing file`)
      }
      await node.image.changeBacking(backing, format)
      node.referred = { name: backing, filename: backing }
    } finally {
      for (const one of reopened) await change.reopen(one, { readOnly: true })
    }
  })
}

/** Whether `node` is `top` or below it along backing files and filters. */
function isInChain(top: Node, node: Node): boolean {
  for (let at: Node | undefined = top; at !== undefined; at = (at.backing ?? at.filtered)?.node) {
    if (at === node) return true
  }
  return false
}
