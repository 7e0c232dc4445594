import type { Group } from './differential.ts'

/** Command lines of qemu-img, which ours must answer in the same words. */
export const groups: readonly Group[] = [
  {
    name: 'usage errors',
    lines: [
      '', 'foo', '--foo', '-x', 'create', 'create -f', 'create -Z', 'create --zzz a', 'create --object', 'create --q a.img 1M',
      'create a.img', 'create a.img 1X', 'create a.img -1', 'create a.img 1M 2M', 'create -f foo a.img 1M',
      'create -f qcow2 a.img 100000000000000000000', 'create -f qcow2 -o ,cluster_size=4k a.img 1M', 'create -f raw a.img 9E',
      'create -f raw -o foo=1 a.img 1M', 'create -f raw -o size=1M a.img 1M', 'create -f raw -o size=x a.img',
      'create -f raw foo:z.img 1M', 'create -f raw -b x a.img 1M', 'create /nonexistent/a.img 1M', 'create . 1M', "create '' 1M",
      'info', 'info a b', 'info --output a b', 'info --output=xml a.img', 'info nofile', 'info -f foo a.img', 'info --image-opts -f raw a.img',
      'info --image-opts a.img', "info ''", 'info foo:x', 'info .', 'info /dev/null', 'info --frobnicate a',
      'check', 'check -r', 'check -r foo a.img', 'check nofile', 'check -T foo a.img', 'check --output=yaml a.img', 'check a b',
      'snapshot', 'snapshot -c a -d b x', 'snapshot -l nofile', 'snapshot -c x nofile', 'snapshot -c', 'snapshot a b',
      'map', 'map a b', 'map nofile', 'map -s foo x', 'map -s -1 x', 'map -l 1X x', 'map --start-offset=9E x', 'map --output=foo x',
      'resize', 'resize x', 'resize -q', 'resize -1M', 'resize nofile +1M', 'resize nofile foo', 'resize nofile 9E', 'resize a 1M 2M',
      'resize nofile +100000000000000000000', 'resize --preallocation=foo nofile 1M',
      'amend', 'amend x', 'amend -o size=1M', 'amend -o help', 'amend -o size=1M a b', 'amend -t foo -o size=1M x', 'amend -o size=1M nofile', 'amend -f foo -o help', 'amend -f raw -o help',
      'compare', 'compare a', 'compare a b c', 'compare nofile1 nofile2', 'compare -T foo a b',
      'measure', 'measure a b', 'measure --size 1M x', 'measure --size foo', 'measure --size 9E', 'measure -f raw --size 1M', 'measure --image-opts --size 1M', 'measure -l x --size 1M',
      'measure --output=x --size 1M', 'measure -O foo --size 1M', 'measure nofile', 'measure -O raw -o foo=1 --size 1M',
      'bitmap', 'bitmap x y', 'bitmap --add nofile b',
    ],
  },
  {
    name: 'raw images',
    setup: ['qemu-img create -q b.img 10M', "qemu-io -f raw -c 'write -P 1 64k 4k' -c 'write -P 2 3M 128k' b.img"],
    lines: [
      'create a.img 1M', 'create -q c.img 1M', 'create -f raw d.img 1.5M', 'create -f raw -o preallocation=falloc e.img 1M', 'create -f raw -o preallocation=full e2.img 1M',
      'create -f raw -o nocow=off f.img 64k', 'create -f raw -o size=3M g.img', 'create h.img 1000', 'create i.img 0', 'create j.img 0x10000', 'create -f file k.img 1M',
      'create -o help', 'create -o help x', 'create -f raw -o ? x', 'create -o size=1M,help x', 'create -f raw -o preallocation=metadata l.img 1M', 'create -f raw -o preallocation=foo m.img 1M',
      'info a.img', 'info b.img', 'info --output=json b.img', 'info -f raw b.img', 'info -f file b.img', 'info h.img', 'info i.img', 'info file:b.img', 'info -U b.img',
      'info --image-opts driver=raw,file.driver=file,file.filename=b.img', 'info --image-opts file.filename=b.img', 'info --image-opts driver=file,filename=b.img',
      `info 'json:{"driver":"raw","file":{"driver":"file","filename":"b.img"}}'`, 'info --backing-chain b.img', 'info --backing-chain --output=json b.img',
      'info -f qcow2 b.img', 'info --image-opts driver=raw,file.filename=nofile', 'info --image-opts driver=raw,offset=512,size=1k,file.filename=b.img',
      'check b.img', 'check -f raw b.img', 'check --output=json b.img', 'check -q b.img', 'check -r all b.img', 'check -U -r all b.img',
      'map b.img', 'map --output=json b.img', 'map -s 64k -l 8k --output=json b.img', 'map --output=json -s 3M b.img', 'map -s 20M b.img', 'map -s 20M --output=json b.img', 'map -l 0 --output=json b.img',
      'map --output=json h.img', 'map i.img', 'map --output=json i.img', 'map --output=json -s 100 -l 1000 b.img',
      'snapshot -l b.img', 'snapshot b.img', 'snapshot -c x b.img', 'snapshot -d x b.img', 'snapshot -U -c x b.img', 'snapshot -q -l -f raw b.img',
      'resize a.img 2M', 'resize -f raw a.img 2M', 'resize -f raw a.img +1M', 'resize -f raw a.img -1M', 'resize -f raw --shrink a.img -1M', 'resize -q -f raw a.img 4M', 'resize -f raw a.img +513',
      'resize -f raw a.img 0', 'resize -f raw --shrink a.img -100G', 'resize -f raw --preallocation=full a.img +1M', 'resize -f raw --preallocation=falloc a.img +1M', 'resize -f raw --preallocation=metadata a.img +1M',
      'resize -f raw --shrink --preallocation=full a.img -1M', 'resize --image-opts driver=raw,file.filename=a.img +1M', 'resize -f raw a.img -- 20M', 'resize -f raw -- a.img 21M', 'resize a.img -f',
      'info a.img', 'amend -f raw -o size=1M a.img', 'amend -o size=1M a.img', 'amend -o help a.img',
      'compare b.img b.img', 'compare c.img b.img', 'compare -q c.img b.img', 'compare -s c.img b.img', 'compare c.img g.img', 'compare g.img c.img', 'compare -s c.img g.img', 'compare -p c.img c.img', 'compare -f raw -F raw b.img c.img',
      'compare -f qcow2 b.img c.img', 'compare -F qcow2 b.img c.img', 'compare --image-opts b.img c.img', 'compare -U b.img b.img', 'compare -q b.img b.img', 'compare -s b.img b.img', 'compare -T none b.img b.img',
      'measure b.img', 'measure -O raw b.img', 'measure --size 1G', 'measure --size 1000', 'measure --output=json --size 1G', 'measure --output=json b.img', 'measure -f file b.img', 'measure -l one b.img', 'measure -U --size 1M',
      'bitmap b.img b0', '-T foo info b.img', '--trace=foo info b.img', 'info -- b.img', 'info b.img -f raw', 'info -fraw b.img', 'info --out=json b.img', 'info --back b.img', 'info -Uf raw b.img', 'create -fraw -osize=1M o.img', 'create -qf raw p.img 1M',
    ],
  },
  {
    name: 'qcow2: create',
    setup: ['qemu-img create -q base.img 8M', 'mkdir d', 'qemu-img create -q d/base.img 1M', 'qemu-img create -q -f qcow2 b.qcow2 4M'],
    lines: [
      'create -f qcow2 a.qcow2 64M', 'create -q -f qcow2 a1.qcow2 64M', 'create -f qcow2 -o cluster_size=4k b1.qcow2 1G', 'create -f qcow2 -o compat=0.10 c.qcow2 1M', 'create -f qcow2 -o compat=v3,lazy_refcounts=on d.qcow2 1M',
      'create -f qcow2 -o refcount_bits=1 e.qcow2 1M', 'create -f qcow2 -o preallocation=metadata f.qcow2 4M', 'create -f qcow2 -o preallocation=full g.qcow2 4M', 'create -f qcow2 -o preallocation=falloc g1.qcow2 4M',
      'create -f qcow2 -b base.img -F raw h.qcow2', 'create -f qcow2 -b base.img -F raw h2.qcow2 1M', 'create -f qcow2 -b b.qcow2 -F qcow2 h3.qcow2 16M', 'create -f qcow2 -b base.img h4.qcow2', 'create -f qcow2 -b base.img -F qcow2 h5.qcow2',
      'create -f qcow2 -b nofile -F raw h6.qcow2', 'create -f qcow2 -u -b nofile -F raw h6.qcow2', 'create -f qcow2 -u -b nofile -F raw h6.qcow2 1M', 'create -f qcow2 -u -b nofile h7.qcow2 1M', 'create -f qcow2 -b base.img -F foo h8.qcow2',
      'create -f qcow2 -b h9.qcow2 -F qcow2 h9.qcow2', 'create -f qcow2 -b base.img -F raw d/h.qcow2', 'create -f qcow2 -b ../base.img -F raw d/h1.qcow2', 'create -f qcow2 -o backing_file=base.img,backing_fmt=raw i.qcow2', "create -f qcow2 -b '' i1.qcow2 1M",
      'create -f qcow2 -b base.img -F raw -o backing_file=x i2.qcow2', 'create -f qcow2 -F raw i3.qcow2 1M', 'create -f qcow2 -o preallocation=full -b base.img -F raw i4.qcow2', 'create -f raw -b base.img -F raw i5.img', 'create -f raw -F raw i5.img 1M',
      'create -f qcow2 -o cluster_size=3 j.qcow2 1M', 'create -f qcow2 -o cluster_size=4M j.qcow2 1M', 'create -f qcow2 -o cluster_size=x j.qcow2 1M', 'create -f qcow2 -o lazy_refcounts=maybe j.qcow2 1M', 'create -f qcow2 -o preallocation=maybe j.qcow2 1M',
      'create -f qcow2 -o refcount_bits=3 j.qcow2 1M', 'create -f qcow2 -o refcount_bits=x j.qcow2 1M', 'create -f qcow2 -o compat=1.2 j.qcow2 1M', 'create -f qcow2 -o compat=0.10,lazy_refcounts=on j.qcow2 1M', 'create -f qcow2 -o compat=0.10,refcount_bits=8 j.qcow2 1M',
      'create -f qcow2 -o foo=1 j.qcow2 1M', 'create -f qcow2 -o cluster_size j.qcow2 1M', 'create -f qcow2 -o lazy_refcounts k.qcow2 1M', 'create -f qcow2 -o nolazy_refcounts k.qcow2 1M', 'create -f qcow2 -o size=3M k1.qcow2', 'create -f qcow2 -o size=3M k1.qcow2 4M',
      'create -f qcow2 -o cluster_size=4k -o compat=0.10 k2.qcow2 1M', 'create -f qcow2 k3.qcow2 64P', 'create -f qcow2 k3.qcow2 9E', 'create -f qcow2 k4.qcow2 4194303', 'create -f qcow2 k5.qcow2 0', 'create -f qcow2 /nonexistent/k.qcow2 1M', 'create -f qcow2 . 1M',
      'create -f qcow2 -o nocow=off k6.qcow2 1M', 'create -fqcow2 -ocluster_size=4k,, a.img 1M', 'create -f qcow2', 'create -f qcow2 z.qcow2', 'create -f qcow2 -o cluster_size=2M k7.qcow2 1T',
      `create -f qcow2 -b 'json:{"driver":"raw","file":{"driver":"file","filename":"base.img"}}' -F raw k8.qcow2`, 'create -f qcow2 -b file:base.img -F raw k9.qcow2', 'create -f qcow2 -b foo:bar -F raw k10.qcow2', 'create -f qcow2 null-co://x 1M',
      'info a.qcow2', 'info b1.qcow2', 'info c.qcow2', 'info d.qcow2', 'info --output=json d.qcow2', 'info e.qcow2', 'info f.qcow2', 'info g.qcow2', 'info h.qcow2', 'info --backing-chain h.qcow2', 'info --output=json --backing-chain h.qcow2', 'info d/h.qcow2', 'info --backing-chain d/h.qcow2',
      'info d/h1.qcow2', 'info --backing-chain d/h1.qcow2', 'info --output=json d/h1.qcow2', 'info h6.qcow2', 'info --backing-chain h6.qcow2', 'info k8.qcow2', 'info --backing-chain k8.qcow2', 'info --backing-chain k9.qcow2', 'info --output=json k8.qcow2', 'info k4.qcow2', 'info k5.qcow2',
      'map --output=json f.qcow2', 'map f.qcow2', 'map --output=json g.qcow2', 'map --output=json a.qcow2', 'map h6.qcow2', 'map --output=json h.qcow2', 'map h3.qcow2', 'map --output=json h3.qcow2', 'check a.qcow2', 'check f.qcow2', 'check --output=json f.qcow2', 'check k5.qcow2', 'check e.qcow2',
      'info -f raw a.qcow2', 'info --image-opts driver=qcow2,file.filename=a.qcow2', 'info --image-opts driver=qcow2,file.filename=nofile', 'info --image-opts driver=qcow2,file.filename=base.img', 'info --image-opts driver=qcow2,file.filename=a.qcow2,foo=bar', 'info --image-opts file.filename=a.qcow2',
      'info --image-opts driver=qcow2', 'info --image-opts driver=foo,file.filename=a.qcow2', `info 'json:{"driver":"qcow2","file.filename":"a.qcow2"}'`, `info 'json:{"driver":"qcow2"}'`, "info 'json:{'", `info 'json:{"file.filename":"a.qcow2"}'`,
    ],
  },
  {
    name: 'qcow2: loops and broken chains',
    setup: [
      'qemu-img create -q -u -f qcow2 -b l2.img -F qcow2 l1.img 1M', 'qemu-img create -q -u -f qcow2 -b l1.img -F qcow2 l2.img 1M', 'qemu-img create -q -u -f qcow2 -b nofile -F qcow2 n.img 1M',
      'qemu-img create -q -u -f qcow2 -b n.img -F qcow2 n2.img 1M', 'qemu-img create -q r.img 1M', 'qemu-img create -q -u -f qcow2 -b r.img -F qcow2 w.img 1M',
    ],
    lines: [
      'info l1.img', 'info --backing-chain l1.img', 'info --backing-chain --output=json l1.img', 'info --backing-chain n.img', 'info --backing-chain n2.img', 'info n2.img', 'map n.img', 'map n2.img', 'check n.img', 'snapshot -l n.img', 'snapshot -l n2.img', 'snapshot -c x n.img', 'resize n.img 2M', 'compare n.img r.img', 'compare r.img n.img',
      'info --backing-chain w.img', 'map w.img', 'measure n.img', 'amend -o lazy_refcounts=on n.img', 'create -f qcow2 -b n.img -F qcow2 x.img', 'create -f qcow2 -b n2.img -F qcow2 x.img 1M',
    ],
  },
  {
    name: 'qcow2: snapshots',
    setup: ['qemu-img create -q -f qcow2 a.img 8M', "qemu-io -c 'write -P 1 0 256k' a.img", 'qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=4k v2.img 1M'],
    lines: [
      'snapshot -l a.img', 'snapshot a.img', 'snapshot -c one a.img', 'snapshot -l a.img', "!qemu-io -c 'write -P 2 0 128k' a.img", "snapshot -c 'two words and a name longer than the column' a.img", 'snapshot -l a.img', 'info a.img', 'info --output=json a.img', 'check a.img', 'map --output=json a.img',
      'snapshot -c one a.img', 'snapshot -a one a.img', 'map --output=json a.img', 'snapshot -a nosuch a.img', 'snapshot -d nosuch a.img', 'snapshot -d one a.img', 'snapshot -l a.img', 'snapshot -d 2 a.img', 'snapshot -l a.img', 'check a.img', 'snapshot -q -c q a.img', 'snapshot -U -l a.img', 'snapshot -U -c x a.img', 'snapshot -f raw -l a.img', 'snapshot -f foo -l a.img',
      'snapshot --image-opts -l driver=qcow2,file.filename=a.img', 'snapshot -l -l a.img', 'snapshot -c s v2.img', 'snapshot -l v2.img', 'info --output=json v2.img', 'resize v2.img 2M', 'resize --shrink v2.img 512k', 'snapshot -d s v2.img', 'resize v2.img 2M', 'resize a.img 16M', 'info a.img', 'check a.img',
      'measure -O qcow2 -l q a.img', 'measure -O qcow2 -l snapshot.name=q a.img', 'measure -O qcow2 -l snapshot.id=99 a.img', 'measure -O qcow2 -l nosuch a.img', '!qemu-img check -q a.img', "!qemu-img snapshot -c theirs a.img", 'snapshot -l a.img', 'snapshot -a theirs a.img', 'snapshot -d theirs a.img', '!qemu-img check -q a.img',
    ],
  },
  {
    name: 'qcow2: map, compare, measure',
    setup: [
      'qemu-img create -q -f qcow2 base.img 64M', "qemu-io -c 'write -P 1 0 128k' -c 'write -z 1M 128k' base.img", 'qemu-img create -q -f qcow2 -b base.img -F qcow2 mid.img', 'qemu-img create -q -f qcow2 -o cluster_size=4k -b mid.img -F qcow2 top.img 128M',
      "qemu-io -c 'write -P 2 64k 4k' -c 'write -z 32k 4k' -c 'write -P 3 100M 16k' top.img", 'qemu-img create -q r.img 128M', 'qemu-img create -q q1.img 1M', "qemu-io -f raw -c 'write -P 7 700k 4k' q1.img", 'qemu-img convert -O qcow2 q1.img q2.img', 'qemu-img convert -c -O qcow2 q1.img c.img', 'qemu-img create -q -f qcow2 e.img 1M',
      'qemu-img create -q q3.img 2M', "qemu-io -f raw -c 'write -P 7 700k 4k' -c 'write -P 1 1537k 100' q3.img",
    ],
    lines: [
      'map top.img', 'map --output=json top.img', 'map -s 64k -l 8k top.img', 'map -s 100 -l 5000 --output=json top.img', 'map --output=json mid.img', 'map --output=json -s 127M top.img', 'map --output=json -s 129M top.img', 'map base.img', 'map --output=json base.img', 'map c.img', 'map --output=json c.img', 'map --output=json q2.img', 'map -U q2.img', 'map -f qcow2 q2.img', 'map -f qcow2 q1.img',
      'map --image-opts driver=qcow2,file.filename=q2.img', 'map e.img', 'map --output=json e.img',
      'compare top.img base.img', 'compare base.img top.img', 'compare mid.img base.img', 'compare -s mid.img base.img', 'compare q1.img q2.img', 'compare -s q1.img q2.img', 'compare -p q1.img q2.img', 'compare q1.img c.img', 'compare -s q2.img c.img', 'compare q1.img e.img', 'compare -p q1.img e.img', 'compare q1.img q3.img', 'compare q3.img q1.img', 'compare q3.img q2.img', 'compare -q q3.img q2.img', 'compare -s q3.img q1.img', 'compare -s e.img q2.img', 'compare top.img r.img', 'compare -f qcow2 q1.img q2.img', 'compare -f raw -F qcow2 q1.img q2.img', 'compare -F raw q1.img q2.img',
      'measure -O qcow2 top.img', 'measure -O qcow2 base.img', 'measure -O raw base.img', 'measure -O qcow2 --size 1G', 'measure -O qcow2 --output=json --size 1G', 'measure -O qcow2 -o cluster_size=4k --size 1G', 'measure -O qcow2 -o cluster_size=3 --size 1G', 'measure -O qcow2 -o preallocation=full base.img', 'measure -O qcow2 -o foo=1 --size 1G', 'measure -O qcow2 -o help --size 1G', 'measure -O qcow2 -o refcount_bits=64 --size 100G', 'measure --output=json -O qcow2 q1.img', 'measure -O qcow2 q2.img', 'measure -O qcow2 c.img', 'measure -O qcow2 q1.img', 'measure -O qcow2 r.img', 'measure -O qcow2 -o backing_file=x top.img', 'measure -O qcow2 --size 0', 'measure -O qcow2 --size 1000', 'measure --image-opts driver=qcow2,file.filename=q2.img', 'measure -O qcow2 -o compat=0.10,cluster_size=512 --size 1T',
    ],
  },
  {
    name: 'qcow2: check and repair',
    setup: [
      'qemu-img create -q -f qcow2 good.img 64M', "qemu-io -c 'write 0 128k' good.img", 'cp good.img leak.img', 'truncate -s 2M leak.img', damage('leak.img', 20, 1), 'cp leak.img leak2.img', 'cp leak.img leak3.img', 'cp good.img corrupt.img', damage('corrupt.img', 5, 0), 'cp corrupt.img corrupt2.img', 'cp corrupt.img corrupt3.img', 'cp corrupt.img corrupt4.img',
      'cp leak.img both.img', damage('both.img', 6, 2), 'cp both.img both2.img', 'qemu-img create -q -f qcow2 frag.img 4M', "qemu-io -c 'write 1M 64k' -c 'write 0 64k' -c 'write 64k 64k' frag.img", 'qemu-img convert -c -O qcow2 frag.img comp.img', 'qemu-img create -q -f qcow2 -o lazy_refcounts=on lazy.img 1M',
      "(ulimit -c 0; qemu-io -c 'write 0 128k' -c 'abort' lazy.img; true) 2>/dev/null", 'cp lazy.img lazy2.img', 'cp lazy.img lazy3.img',
    ],
    lines: [
      'check good.img', 'check --output=json good.img', 'check -q good.img', 'check -T none good.img', 'check -U good.img', 'check -f qcow2 good.img', 'check -f raw good.img', 'check --image-opts driver=qcow2,file.filename=good.img', 'check leak.img', 'check --output=json leak.img', 'check -q leak.img', 'check -r leaks leak2.img', 'check leak2.img', 'check -r leaks --output=json leak3.img', 'check -r all good.img', 'check -U -r all good.img',
      'check corrupt.img', 'check --output=json corrupt.img', 'check -r leaks corrupt2.img', 'check -r all corrupt3.img', 'check corrupt3.img', 'check -r all --output=json corrupt4.img', 'check both.img', 'check --output=json both.img', 'check -r leaks both.img', 'check -q -r all both2.img', 'check frag.img', 'check --output=json frag.img', 'check comp.img', 'check --output=json comp.img',
      'info lazy.img', 'info --output=json lazy.img', 'check lazy.img', 'check -r all lazy2.img', 'check lazy2.img', 'check -r leaks --output=json lazy3.img', '!qemu-img check -q corrupt3.img', '!qemu-img check -q leak2.img',
    ],
  },
  {
    name: 'qcow2: resize and amend',
    setup: ['qemu-img create -q -f qcow2 a.img 64M', "qemu-io -c 'write -P 1 0 128k' -c 'write -P 2 63M 1M' a.img", 'cp a.img b.img', 'qemu-img create -q r.img 1M'],
    lines: [
      'resize a.img +1M', 'resize a.img -1M', 'resize --shrink a.img -1M', 'resize a.img 10M', 'resize --shrink a.img 10M', 'resize a.img 64M', 'check a.img', 'resize a.img 0', 'resize -q a.img 65M', 'resize a.img foo', 'resize a.img +foo', 'resize --shrink a.img -100G', 'resize --preallocation=metadata a.img +1M', 'resize --preallocation=full a.img +1M', 'resize --preallocation=falloc a.img +1M', 'resize --preallocation=off a.img +1M', 'resize --preallocation=bar a.img +1M',
      'resize --shrink --preallocation=full a.img 1M', 'resize --image-opts driver=qcow2,file.filename=a.img +1M', 'resize a.img +100000000000000000000', 'resize a.img +9E', 'resize a.img 9E', 'resize a.img 1M 2M', 'resize a.img +1000', 'resize a.img +1', 'info a.img', 'map --output=json a.img', 'check a.img', '!qemu-img check -q a.img', 'resize -f raw r.img 4k',
      'amend b.img', 'amend -o compat=0.10 b.img', 'info b.img', 'amend -o compat=1.1,lazy_refcounts=on b.img', 'info b.img', 'amend -o lazy_refcounts=off,refcount_bits=32 b.img', 'info b.img', 'amend -q -o refcount_bits=16 b.img', 'amend -o foo=1 b.img', 'amend -o cluster_size=4k b.img', 'amend -o size=128M b.img', 'amend -o size=1M b.img', 'amend -o backing_file=r.img b.img', 'amend -o backing_file=r.img,backing_fmt=raw b.img', 'amend -o backing_file= b.img', 'amend -f raw -o size=1M r.img', 'amend -o size=1M r.img',
      'amend -o preallocation=full b.img', 'amend -o compat=foo b.img', 'amend -o compat=0.10,refcount_bits=8 b.img', 'amend -q -o lazy_refcounts=xx b.img', 'amend -p -o lazy_refcounts=on b.img', 'amend -o data_file=x b.img', 'amend -o refcount_bits=3 b.img', 'amend -o compat=0.10 b.img', 'info b.img', 'check b.img', '!qemu-img check -q b.img',
    ],
  },
]

/** Sets the reference count of a cluster of an image with 16-bit counts and one block of them. */
function damage(filename: string, cluster: number, count: number): string {
  const script = [
    'f=open(sys.argv[1],"r+b")', 'h=f.read(56)', 'f.seek(struct.unpack(">Q",h[48:56])[0])', 'b=struct.unpack(">Q",f.read(8))[0]',
    `f.seek(b+2*${cluster})`, `f.write(struct.pack(">H",${count}))`,
  ]
  return `python3 -c 'import struct,sys;${script.join(';')}' ${filename}`
}
