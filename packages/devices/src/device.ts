/**
 * A device: what a guest uses of the graph, under a name that stays while media come and go.
 *
 *     guest ─▶ Device: waits while the guest is stopped, applies the error policies (guest.ts)
 *                └▶ Medium: throttles, counts (a monitor's commands use it directly)
 *                     └▶ node
 */

import { BlockError, type Change, type Node, Permission } from '@diskgraph/core'
import { checkSettings, type Inspect, inspected, inspection } from '@diskgraph/core/internal'
import {
  changedLimits,
  joinThrottleGroup,
  noLimits,
  type ThrottleLimits,
  type ThrottleMember,
} from '@diskgraph/throttle'
import { Accounting, type HistogramBoundaries } from './accounting.ts'
import { type DeviceModel, type DeviceSettings, modelRules } from './device-settings.ts'
import { Guest } from './guest.ts'
import { type Backend, Medium } from './medium.ts'
import type { DeviceSystem } from './system.ts'
import { fromShortLimits, isLimited, type ShortLimits } from './throttling.ts'

const { ConsistentRead, Write, WriteUnchanged, Resize, All, BackingChange } = Permission

/** See the top of the file. Made by `DeviceTable.add`. */
export class Device extends Guest implements Backend {
  readonly id: string
  readonly accounting: Accounting
  readonly readOnly: boolean
  writeCache: boolean
  readonly #system: DeviceSystem
  readonly #resizeListeners = new Set<(size: number) => void>()
  readonly #removalListeners = new Set<() => Promise<void>>()
  #model: DeviceModel | undefined
  #qdev: string | undefined
  #medium: Medium | undefined
  #throttle: ThrottleMember | undefined
  #trayOpen = false
  #locked = false
  #idle: boolean
  #mediaReadOnly: boolean

  /** @internal */
  constructor(system: DeviceSystem, settings: DeviceSettings) {
    super(system, settings)
    this.#system = system
    this.id = settings.id ?? ''
    this.accounting = new Accounting(system.graph.clock, settings)
    this.readOnly = settings.readOnly === true
    this.writeCache = settings.writeCache !== false
    this.#idle = settings.idle === true
    this.#mediaReadOnly = settings.mediaReadOnly ?? this.readOnly
  }

  /** How messages name it. */
  get name(): string {
    return this.id !== '' ? this.id : (this.#qdev ?? '')
  }

  get model(): DeviceModel | undefined {
    return this.#model
  }

  /** Name or path of the model. */
  get qdev(): string | undefined {
    return this.#qdev
  }

  /** The medium, for what is no guest: throttled and counted, but neither stopped nor subject to the error policies. */
  get medium(): Medium | undefined {
    return this.#medium
  }

  get node(): Node | undefined {
    return this.#medium?.node
  }

  /** Bytes; 0 without a medium. */
  get size(): number {
    return this.#medium?.size ?? 0
  }

  /** How a monitor opens the next medium where it is not told: as the last one was. */
  get mediaReadOnly(): boolean {
    return this.node?.readOnly ?? this.#mediaReadOnly
  }

  get throttle(): ThrottleMember | undefined {
    return this.#throttle
  }

  get removable(): boolean {
    return this.#model === undefined || this.#model.removable === true
  }

  get hasTray(): boolean {
    return this.#model?.tray === true
  }

  get trayOpen(): boolean {
    return this.#trayOpen
  }

  get locked(): boolean {
    return this.#locked
  }

  /** Calls `listener` with the new size when the disk is resized or another medium stands here; the result ends that. */
  onResize(listener: (size: number) => void): () => void {
    this.#resizeListeners.add(listener)
    return () => this.#resizeListeners.delete(listener)
  }

  /** Calls `listener` when the medium has been taken out, whose removal waits for it; the result ends that. It must not fail. */
  onRemoval(listener: () => Promise<void>): () => void {
    this.#removalListeners.add(listener)
    return () => this.#removalListeners.delete(listener)
  }

  /** Puts a model over it, whose name or path is `qdev`. EPERM if other users of the node stand against what it needs. */
  async attach(model: DeviceModel, qdev: string): Promise<void> {
    checkSettings('the model of a device', modelRules, model)
    if (this.#model !== undefined) {
      throw new BlockError('EBUSY', `Drive '${this.name}' is already in use by another device`)
    }
    this.#model = model
    this.#qdev = qdev
    try {
      await this.#updatePermissions()
    } catch (error) {
      this.#model = undefined
      this.#qdev = undefined
      throw error
    }
  }

  /** One that is idle writes from now on. EPERM if other users of the node stand against it. */
  async mayWrite(): Promise<void> {
    if (!this.#idle) return
    this.#idle = false
    try {
      await this.#updatePermissions()
    } catch (error) {
      this.#idle = true
      throw error
    }
  }

  /** Takes the model away. */
  async detach(): Promise<void> {
    this.#model = undefined
    this.#qdev = undefined
    this.#trayOpen = false
    this.#locked = false
    await this.#updatePermissions()
  }

  /** A guest locks its tray, or unlocks it. */
  lock(locked: boolean): void {
    this.#locked = locked
  }

  /** Opens the tray, if there is one. Whether it is open then: a guest may have locked it, and `force` is not set. */
  openTray(force = false, name = this.name): boolean {
    this.#mustBeRemovable(name)
    if (!this.hasTray || this.#trayOpen) return true
    if (this.#locked && !force) return false
    this.#moveTray(true)
    return true
  }

  closeTray(name = this.name): void {
    this.#mustBeRemovable(name)
    if (this.hasTray && this.#trayOpen) this.#moveTray(false)
  }

  /** Opens the tray and takes the medium out. EBUSY when the guest has locked it and `force` is not set. */
  async eject(force = false, name = this.name): Promise<void> {
    if (!this.openTray(force, name)) {
      const message = `Device '${name}' is locked and force was not specified, wait for tray to open and try again`
      throw new BlockError('EBUSY', message)
    }
    await this.removeMedium(name)
  }

  /** Takes the medium out; requests in flight come to their end first. EINVAL while the tray is closed. */
  async removeMedium(name = this.name): Promise<void> {
    this.#mustBeRemovable(name)
    if (this.hasTray && !this.#trayOpen) throw new BlockError('EINVAL', `Tray of device '${name}' is not open`)
    await this.#takeOut()
  }

  /** Puts `node` in as the medium. EBUSY while somebody else uses it or there is one. */
  async insertMedium(node: Node | string): Promise<void> {
    const { graph } = this.#system
    await this.holding(() =>
      graph.change(async (change) => {
        const found = typeof node === 'string' ? graph.find(node) : node
        if (found === undefined) throw new BlockError('ENODEV', `Node '${String(node)}' not found`)
        if ([...found.parents].some(({ parent }) => parent.isRoot)) {
          throw new BlockError('EBUSY', `Node '${found.name}' is already in use`)
        }
        if (!this.removable) throw new BlockError('EINVAL', 'Device is not removable')
        if (this.hasTray && !this.#trayOpen) throw new BlockError('EINVAL', 'Tray of the device is not open')
        if (this.#medium !== undefined) throw new BlockError('EBUSY', 'There already is a medium in the device')
        this.#medium = await this.#attached(change, found)
      }),
    )
    this.#resized()
  }

  /** Takes the medium out and puts in what `open` opens: it is opened first, so that a failure changes nothing. */
  async changeMedium(open: () => Promise<Medium['node']>, force = false, name = this.name): Promise<void> {
    this.#mustBeRemovable(name)
    const node = await open()
    await this.eject(force, name)
    await this.insertMedium(node)
    this.closeTray(name)
  }

  /** Shows `node` instead of its own; requests in flight end first. ENOMEDIUM without a medium, EPERM as {@link attach}. */
  async show(node: Node | string): Promise<void> {
    const { graph } = this.#system
    await this.holding(() =>
      graph.change(async (change) => {
        const medium = this.#medium
        if (medium === undefined) throw new BlockError('ENOMEDIUM', `Device '${this.name}' has no medium`)
        await change.move(medium.edge, node)
        change.setPermissions(medium.edge, this.#permissions(medium.node))
      }),
    )
    this.#resized()
  }

  /** `block_set_io_throttle`: as {@link setLimits}. ENOMEDIUM without a medium. */
  setThrottle(limits: ShortLimits, group?: string): void {
    if (this.#medium === undefined) throw new BlockError('ENOMEDIUM', 'Device has no medium')
    this.setLimits(fromShortLimits(limits), group)
  }

  /** Sets all limits of its requests, those of its group; none at all if nothing is limited. EINVAL as QEMU. */
  setLimits(limits: ThrottleLimits, group = this.#throttle?.group.name ?? this.name): void {
    if (!isLimited(changedLimits(noLimits, limits))) {
      this.#leaveGroup()
      return
    }
    const joined = joinThrottleGroup(this.#system.graph, group)
    try {
      joined.group.set(limits)
    } catch (error) {
      joined.leave()
      throw error
    }
    this.#leaveGroup()
    this.#throttle = joined
  }

  /** `block-latency-histogram-set`. */
  setHistograms(boundaries: HistogramBoundaries): void {
    this.accounting.setHistograms(boundaries, this.name)
  }

  /** Ends the device. Requests that an error holds fail with it; others end first. Errors of closing are the caller's. */
  async close(): Promise<void> {
    if (this.closed) return
    this.end()
    this.#system.forget(this)
    await this.#takeOut()
    this.#leaveGroup()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is worth knowing of it. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { id, qdev, node, readOnly, trayOpen, ioStatus } = this
    return { id, qdev, model: this.#model?.name, node: node?.name, readOnly, trayOpen, ioStatus }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Device', this, options, inspect)
  }

  protected get hasIoStatus(): boolean {
    return this.#model !== undefined && this.#model.ioStatus !== false
  }

  /** @internal Puts in the first medium. */
  insertFirst(node: Node): Promise<void> {
    return this.#system.graph.change(async (change) => {
      this.#medium = await this.#attached(change, node)
    })
  }

  #mustBeRemovable(name: string): void {
    if (!this.removable) throw new BlockError('EINVAL', `Device '${name}' is not removable`)
  }

  #moveTray(open: boolean): void {
    this.#trayOpen = open
    const data = { device: this.id, id: this.#qdev ?? '', trayOpen: open }
    this.#system.graph.emit({ event: 'DEVICE_TRAY_MOVED', data })
  }

  async #takeOut(): Promise<void> {
    const { graph } = this.#system
    await this.holding(async () => {
      const medium = this.#medium
      if (medium === undefined) return
      const throttle = this.#throttle
      throttle?.drainBegin()
      await medium.settled()
      throttle?.drainEnd()
      this.#mediaReadOnly = medium.node.readOnly
      if (this.#medium === medium) this.#medium = undefined
      await graph.detachRoot(medium)
      for (const listener of this.#removalListeners) await listener()
    })
    if (!this.closed) this.#resized()
  }

  async #attached(change: Change, node: Node): Promise<Medium> {
    if (this.closed) throw new BlockError('ENODEV', `Device '${this.name}' is closed`)
    const medium = new Medium(this.#system.graph, node, this, `block device '${this.name}'`)
    await change.attach(medium, this.#permissions(node))
    await change.commit()
    medium.onResize(() => this.#resized())
    return medium
  }

  #resized(): void {
    const { size } = this
    for (const listener of this.#resizeListeners) listener(size)
  }

  #permissions(node: Node): { readonly permissions: number; readonly shared: number } {
    const model = this.#model
    const writes = !this.readOnly && !node.readOnly && (model !== undefined || !this.#idle)
    const permissions = ConsistentRead | (writes ? Write : 0)
    if (model === undefined) return { permissions, shared: All | BackingChange }
    const shared = ConsistentRead | WriteUnchanged | (model.resizable === false ? 0 : Resize)
    return { permissions, shared: shared | (model.shareRw === true ? Write | BackingChange : 0) }
  }

  async #updatePermissions(): Promise<void> {
    await this.#system.graph.change(async (change) => {
      const medium = this.#medium
      if (medium !== undefined) change.setPermissions(medium.edge, this.#permissions(medium.node))
    })
  }

  #leaveGroup(): void {
    this.#throttle?.leave()
    this.#throttle = undefined
  }
}
