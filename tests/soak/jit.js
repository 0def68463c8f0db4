// Programs for V8's compilers whose results do not depend on the machine; each
// prints "R name result".  Run by jit.sh.
const crypto = require('crypto');
const out = (k, v) => console.log('R', k, v);
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
out('fib', fib(27));
let s = 0; for (let i = 0; i < 3e6; i++) s = (s * 31 + (i ^ (s >>> 3))) | 0;
out('int', s);
let f = 0; for (let i = 1; i < 1e6; i++) f += Math.sin(i) / Math.sqrt(i);
out('float', f.toFixed(9));
const a = new Float64Array(100000); let x = 12345;
for (let i = 0; i < a.length; i++) { x = (x * 1103515245 + 12345) % 2147483648; a[i] = x / 7; }
a.sort(); out('sort', [a[0], a[50000], a[99999]].join());
const m = new Map(); for (let i = 0; i < 100000; i++) m.set('k' + (i * 7919 % 50021), i);
let ms = 0; for (const [k, v] of m) ms = (ms + k.length * v) % 1000003; out('map', ms + ' ' + m.size);
const big = (() => { let r = 1n; for (let i = 1n; i <= 400n; i++) r *= i; return r; })();
out('big', crypto.createHash('sha256').update(big.toString()).digest('hex'));
const objs = []; for (let r = 0; r < 20; r++) { objs.length = 0; for (let i = 0; i < 20000; i++) objs.push({ i, s: 'x' + i, n: { v: i * r } }); }
out('json', crypto.createHash('md5').update(JSON.stringify(objs)).digest('hex'));
let re = 0; const text = 'The quick brown fox 123 jumps over 4567 lazy dogs. '.repeat(2000);
for (const mm of text.matchAll(/(\w+)\s+(\d+)/g)) re += mm[1].length * +mm[2]; out('re', re);
class A { get(i) { return i; } } class B extends A { get(i) { return i * 2; } } class C extends A { get(i) { return super.get(i) + 3; } }
const poly = [new A(), new B(), new C()]; let ps = 0; for (let i = 0; i < 1e6; i++) ps += poly[i % 3].get(i & 1023); out('poly', ps);
// deoptimization: types change under hot code
function add(p, q) { return p + q; } let d = 0; for (let i = 0; i < 2e5; i++) d = add(d, i); let e = ''; for (let i = 0; i < 1e3; i++) e = add(e, i); d = add(d, 0.5); out('deopt', d + ' ' + e.length);
let ev = 0; for (let i = 0; i < 300; i++) ev += new Function('n', `let s = ${i}; for (let i = 0; i < n; i++) s += i * ${i}; return s;`)(2000); out('eval', ev);
function* gen(n) { for (let i = 0; i < n; i++) yield i * i; } let gs = 0; for (const v of gen(100000)) gs = (gs + v) % 999983; out('gen', gs);
out('gzip', crypto.createHash('sha1').update(require('zlib').inflateSync(require('zlib').deflateSync(Buffer.from(text)))).digest('hex'));
const wasm = new Uint8Array([0,97,115,109,1,0,0,0,1,6,1,96,1,127,1,127,3,2,1,0,7,5,1,1,102,0,0,10,30,1,28,0,32,0,65,2,72,4,127,32,0,5,32,0,65,1,107,16,0,32,0,65,2,107,16,0,106,11,11]);
try { out('wasm', new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.f(25)); } catch (err) { out('wasm', 'error ' + err.message.slice(0, 40)); }
const { Worker, isMainThread } = require('worker_threads');
const ws = []; const shared = new SharedArrayBuffer(16); const cnt = new Int32Array(shared);
for (let w = 0; w < 3; w++) ws.push(new Promise((ok, bad) => { const k = new Worker(`const {workerData:b}=require('worker_threads');const c=new Int32Array(b);let s=0;for(let i=0;i<100000;i++){Atomics.add(c,0,1);s=(s*33+i)|0;}Atomics.add(c,1,s);`, { eval: true, workerData: shared }); k.on('exit', ok); k.on('error', bad); }));
Promise.all(ws).then(async () => { out('workers', cnt[0] + ' ' + cnt[1]); let z = 0; for (let i = 0; i < 20000; i++) z += await i; out('async', z); out('end', 'ok'); });
