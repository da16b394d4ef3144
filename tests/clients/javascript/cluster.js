// What users of @kubernetes/client-node do with the cluster of $KUBECONFIG: a line a check into
// the file that $CHECKS names. A check that takes longer than its limit has failed.

import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

// The packages are not beside this file: $PACKAGES says where.
const require = createRequire(join(process.env.PACKAGES, 'package.json'));
const k8s = await import(pathToFileURL(require.resolve('@kubernetes/client-node')));

const IMAGE = 'localhost/busybox:1';
const LIMIT = 30_000;
// What a stream throws outside any promise is the running check's failure, not the script's end.
let fail = () => {};
process.on('uncaughtException', (error) => fail(error));

const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'javascript-' + Math.random().toString(36).slice(2, 8);
const nodes = (await core.listNode()).items;

async function check(name, what, { pod = false } = {}) {
  if (pod && nodes.length === 0) return; // A control plane alone.
  const began = Date.now();
  const line = { check: name };
  let timer;
  const limit = new Promise((_, reject) => {
    fail = reject;
    timer = setTimeout(() => reject(new Error(`not within ${LIMIT / 1000} s`)), LIMIT);
  });
  try {
    const note = await Promise.race([what(), limit]);
    if (typeof note === 'string') line.note = note;
  } catch (error) {
    line.failure = String(error?.message ?? error);
    console.error(name, error);
  }
  clearTimeout(timer);
  line.seconds = (Date.now() - began) / 1000;
  appendFileSync(process.env.CHECKS, JSON.stringify(line) + '\n');
}

function collector() {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      stream.emit('text', text);
      done();
    },
  });
  stream.text = () => text;
  // Resolves once the text holds `part`.
  stream.holds = (part) => new Promise((resolve) => {
    const look = () => text.includes(part) && resolve(text);
    stream.on('text', look);
    look();
  });
  return stream;
}

async function refused(code, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.code ?? error.statusCode, code, error.message);
    return true;
  });
}

const configMap = (name, data = {}, labels = {}) => ({
  apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels }, data,
});

await check('version', async () => {
  const version = await config.makeApiClient(k8s.VersionApi).getCode();
  assert.equal(`${version.major}.${version.minor}`, '1.36');
});

await check('a namespace with its service account', async () => {
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  if (nodes.length === 0) return;
  const watch = new k8s.Watch(config);
  await new Promise((resolve, reject) => {
    watch.watch(`/api/v1/namespaces/${namespace}/serviceaccounts`, { timeoutSeconds: 10 },
      () => resolve(), reject).catch(reject);
  });
});

await check('create, read, list by label, replace, delete', async () => {
  await core.createNamespacedConfigMap({ namespace, body: configMap('one', { a: '1' }, { k: 'v' }) });
  const read = await core.readNamespacedConfigMap({ name: 'one', namespace });
  assert.equal(read.data.a, '1');
  assert.ok(read.metadata.creationTimestamp instanceof Date);
  const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'k=v' });
  assert.deepEqual(list.items.map((item) => item.metadata.name), ['one']);
  read.data.a = '2';
  await core.replaceNamespacedConfigMap({ name: 'one', namespace, body: read });
  await refused(409, () => core.replaceNamespacedConfigMap({ name: 'one', namespace, body: read }));
  await core.deleteNamespacedConfigMap({ name: 'one', namespace });
  await refused(404, () => core.readNamespacedConfigMap({ name: 'one', namespace }));
});

await check('list in pages', async () => {
  for (let number = 0; number < 5; number++) {
    await core.createNamespacedConfigMap({
      namespace, body: configMap(`page-${number}`, {}, { k: 'page' }),
    });
  }
  const names = [];
  let token;
  do {
    const page = await core.listNamespacedConfigMap({
      namespace, labelSelector: 'k=page', limit: 2, _continue: token,
    });
    names.push(...page.items.map((item) => item.metadata.name));
    token = page.metadata._continue;
  } while (token);
  assert.deepEqual(names, [0, 1, 2, 3, 4].map((number) => `page-${number}`));
});

await check('patch: merge, JSON, strategic', async () => {
  const at = { name: 'page-0', namespace };
  const patch = (body, kind) => core.patchNamespacedConfigMap(
    { ...at, body }, k8s.setHeaderOptions('Content-Type', kind));
  await patch({ data: { a: '1' } }, k8s.PatchStrategy.MergePatch);
  await patch([{ op: 'add', path: '/data/b', value: '2' }], k8s.PatchStrategy.JsonPatch);
  const last = await patch({ data: { c: '3' } }, k8s.PatchStrategy.StrategicMergePatch);
  assert.deepEqual(last.data, { a: '1', b: '2', c: '3' });
});

await check('server-side apply and its conflict', async () => {
  const apply = (value, manager, force = false) => objects.patch(
    configMap('applied', { word: value }), undefined, undefined, manager, force,
    k8s.PatchStrategy.ServerSideApply);
  await apply('one', 'first');
  await refused(409, () => apply('two', 'second'));
  const forced = await apply('two', 'second', true);
  assert.equal(forced.data.word, 'two');
});

await check('objects of any kind by discovery', async () => {
  const role = {
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'r', namespace },
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }],
  };
  await objects.create(role);
  const read = await objects.read(role);
  assert.equal(read.rules[0].resources[0], 'pods');
  const list = await objects.list('rbac.authorization.k8s.io/v1', 'Role', namespace);
  assert.equal(list.items.length, 1);
  await objects.delete(role);
});

await check('watch from a revision, bookmarks asked for', async () => {
  const revision = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
  const seen = [];
  let request;
  const done = new Promise((resolve, reject) => {
    request = new k8s.Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: revision, allowWatchBookmarks: true, labelSelector: 'k=watched' },
      (type, object) => {
        if (type !== 'BOOKMARK') seen.push(`${type} ${object.data?.n}`);
        if (type === 'DELETED') resolve();
      },
      (error) => error && reject(error));
  });
  await core.createNamespacedConfigMap({ namespace, body: configMap('w', { n: '1' }, { k: 'watched' }) });
  await core.patchNamespacedConfigMap({ name: 'w', namespace, body: { data: { n: '2' } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ name: 'w', namespace });
  await done;
  (await request).abort();
  assert.deepEqual(seen, ['ADDED 1', 'MODIFIED 2', 'DELETED 2']);
});

await check('informer: initial objects, changes, its cache', async () => {
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'k=page' });
  const informer = k8s.makeInformer(
    config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'k=page');
  const counts = { add: 0, update: 0, delete: 0 };
  const gone = new Promise((resolve, reject) => {
    informer.on('add', () => counts.add++);
    informer.on('update', () => counts.update++);
    informer.on('delete', () => { counts.delete++; resolve(); });
    informer.on('error', reject);
  });
  await informer.start();
  await core.patchNamespacedConfigMap({ name: 'page-1', namespace, body: { data: { x: 'y' } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ name: 'page-2', namespace });
  await gone;
  const cached = informer.list(namespace).map((item) => item.metadata.name).sort();
  await informer.stop();
  assert.deepEqual(cached, ['page-0', 'page-1', 'page-3', 'page-4']);
  assert.deepEqual(counts, { add: 5, update: 1, delete: 1 });
});

await check('a watch from a revision that is gone or yet to come', async () => {
  const error = await new Promise((resolve) => {
    new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: '1', timeoutSeconds: 3 },
      (type, object) => type === 'ERROR' && resolve(object), (why) => resolve(why ?? {}));
  });
  return `code ${error.code ?? error.statusCode ?? 'none'}`;
});

await check('a custom resource from its definition', async () => {
  const group = `${namespace}.example.org`;
  await objects.create({
    apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition',
    metadata: { name: `things.${group}` },
    spec: {
      group, scope: 'Namespaced', names: { plural: 'things', singular: 'thing', kind: 'Thing' },
      // `_default` is how this client spells `default`.
      versions: [{
        name: 'v1', served: true, storage: true, subresources: { status: {} },
        schema: { openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: { type: 'object', properties: { size: { type: 'integer', minimum: 1, _default: 2 } } },
            status: { type: 'object', properties: { ready: { type: 'boolean' } } },
          },
        } },
      }],
    },
  });
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions`;
  await new Promise((resolve, reject) => {
    new k8s.Watch(config).watch(path, { fieldSelector: `metadata.name=things.${group}`, timeoutSeconds: 10 },
      (_, object) => {
        const established = object.status?.conditions?.find((c) => c.type === 'Established');
        if (established?.status === 'True') resolve();
      }, reject);
  });
  const custom = config.makeApiClient(k8s.CustomObjectsApi);
  const at = { group, version: 'v1', namespace, plural: 'things' };
  const thing = (spec) => ({
    apiVersion: `${group}/v1`, kind: 'Thing', metadata: { name: 't' }, spec,
  });
  // Upstream serves a new definition a moment after it is established.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await refused(422, () => custom.createNamespacedCustomObject({ ...at, body: thing({ size: 0 }) }));
  const made = await custom.createNamespacedCustomObject({ ...at, body: thing({}) });
  assert.equal(made.spec.size, 2);
  const status = await custom.patchNamespacedCustomObjectStatus(
    { ...at, name: 't', body: { status: { ready: true } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
  assert.equal(status.status.ready, true);
  await objects.delete({
    apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition',
    metadata: { name: `things.${group}` },
  });
});

await check('discovery of the metrics API', async () => {
  const groups = (await config.makeApiClient(k8s.ApisApi).getAPIVersions()).groups;
  const there = groups.some((group) => group.name === 'metrics.k8s.io');
  const metrics = new k8s.Metrics(config);
  if (there) return `${(await metrics.getNodeMetrics()).items.length} nodes`;
  // The client reads the plain text of the 404 as JSON and makes a 500 of its own of it.
  await refused(500, () => metrics.getNodeMetrics());
  return 'not served';
});

await check('a pod runs', async () => {
  const done = new Promise((resolve, reject) => {
    new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/pods`, { timeoutSeconds: 25 },
      (_, pod) => pod.status?.phase === 'Running' && resolve(), reject);
  });
  await core.createNamespacedPod({ namespace, body: {
    metadata: { name: 'shell' },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{
        name: 'main', image: IMAGE,
        command: ['sh', '-c', 'echo ready; mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www'],
      }],
    },
  } });
  await done;
}, { pod: true });

// Resolves with the status that the server sends last.
function exec(command, { stdin = null, tty = false } = {}) {
  const out = collector();
  const err = collector();
  return new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, 'shell', 'main', command, out, err, stdin, tty,
      (status) => resolve({ status, out: out.text(), err: err.text() })).catch(reject);
  });
}

await check('exec: both outputs and success', async () => {
  const { status, out, err } = await exec(['sh', '-c', 'echo out; echo err >&2']);
  assert.deepEqual([status.status, out, err], ['Success', 'out\n', 'err\n']);
}, { pod: true });

await check('exec: exit code', async () => {
  const { status } = await exec(['sh', '-c', 'exit 7']);
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.equal(status.details.causes[0].message, '7');
}, { pod: true });

await check('exec: input until its end', async () => {
  const stdin = new PassThrough();
  stdin.end('a\nb\n');
  const { out } = await exec(['cat'], { stdin });
  assert.equal(out, 'a\nb\n');
}, { pod: true });

await check('exec on a terminal', async () => {
  const stdin = new PassThrough();
  stdin.write('tty; exit\n');
  const { out } = await exec(['sh'], { stdin, tty: true });
  assert.match(out, /\/dev\/pts\/\d/);
}, { pod: true });

await check('attach', async () => {
  const out = collector();
  const socket = await new k8s.Attach(config).attach(
    namespace, 'shell', 'main', out, null, null, false);
  socket.close();
}, { pod: true });

await check('logs, followed', async () => {
  const out = collector();
  const request = await new k8s.Log(config).log(namespace, 'shell', 'main', out, { follow: true });
  await out.holds('ready\n');
  request.abort();
}, { pod: true });

// Its other direction asks tar for gzip and reads the answer as plain.
await check('copy to a pod', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'clients-'));
  writeFileSync(join(folder, 'in.txt'), 'there and back\n');
  const copy = new k8s.Cp(config);
  await copy.cpToPod(namespace, 'shell', 'main', folder, '/tmp');
  // The client does not wait for the end of tar.
  let out = '';
  while (!out) out = (await exec(['sh', '-c', 'cat /tmp/in.txt 2>/dev/null'])).out;
  assert.equal(out, 'there and back\n');
}, { pod: true });

await check('port-forward', async () => {
  const out = collector();
  const input = new PassThrough();
  const socket = await new k8s.PortForward(config).portForward(
    namespace, 'shell', [8080], out, null, input);
  input.write('GET /index.html HTTP/1.1\r\nHost: shell\r\nConnection: close\r\n\r\n');
  const text = await out.holds('hello\n');
  assert.match(text, /^HTTP\/1.1 200/);
  socket.close();
}, { pod: true });


await check('events of a pod', async () => {
  const events = await core.listNamespacedEvent({
    namespace, fieldSelector: 'involvedObject.name=shell',
  });
  const reasons = events.items.map((event) => event.reason);
  assert.ok(reasons.includes('Scheduled') && reasons.includes('Started'), reasons.join(' '));
}, { pod: true });

await check('delete the namespace with all in it', async () => {
  const gone = new Promise((resolve, reject) => {
    new k8s.Watch(config).watch('/api/v1/namespaces',
      { fieldSelector: `metadata.name=${namespace}`, timeoutSeconds: 28 },
      (type) => type === 'DELETED' && resolve(), reject);
  });
  await core.deleteNamespace({ name: namespace });
  await gone;
}, { pod: true });

// Streams that a failed check left open must not keep the process.
process.exit(0);
