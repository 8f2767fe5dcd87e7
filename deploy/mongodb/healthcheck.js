// A server is healthy if it accepts writes. The first check of a new server makes it a replica set.

// Use its host name: while the image sets up a new server, that one answers only on localhost.
const admin = connect("mongodb://mongodb:27017/admin?directConnection=true");
admin.auth("root", process.env.MONGO_INITDB_ROOT_PASSWORD);

const hello = admin.hello();
if (!hello.setName) {
  admin.adminCommand({
    replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] },
  });
}
quit(hello.isWritablePrimary ? 0 : 1);
