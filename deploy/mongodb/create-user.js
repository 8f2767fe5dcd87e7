// Run once by the image, on an empty data directory: the site's user, who sees its database only.

db.getSiblingDB("admin").createUser({
  user: "prm",
  pwd: process.env.MONGODB_PASSWORD,
  roles: [{ role: "readWrite", db: process.env.PRM_DATABASE_NAME }],
});
