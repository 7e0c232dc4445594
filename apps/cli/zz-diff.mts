import { runImg } from '/work/main/apps/cli/src/img/main.ts'
import { describeDifference, runGroup } from '/work/main/apps/cli/test/differential.ts'
import { groups } from '/work/main/apps/cli/test/qemu-img-table.ts'
const which = process.argv[2]
let n=0,same=0,del=0
for (const g of groups) {
  if (which && !g.name.includes(which)) continue
  const r = await runGroup(g, 'qemu-img', runImg)
  for (const c of r) {
    n++
    const f = (o: any) => JSON.stringify({...o, stdout: o.stdout.replace(/^(Formatting '.*?').*/gm, '$1')})
    if (c.identical) { same++; continue } if (c.deliberate) {del++; continue}
    if (f(c.theirs) !== f(c.ours)) console.log(describeDifference('qemu-img', c) + '\n=========')
  }
}
console.log(n,same,del)
